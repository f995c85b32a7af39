import re

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from mmad.evaluation.functional import aupro, curves, rank
from mmad.visualization.report.paths import SIDE, pr_path, pro_path, roc_path


def points(path):
    assert path.startswith('M')
    values = np.array([one.split() for one in re.split('[ML]', path)[1:]],
                      float)
    return values[:, 0] / SIDE, 1 - values[:, 1] / SIDE


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, 200).round(1)
    return scores, scores + rng.normal(0, 1, 200) > 0.5


def test_areas_under_the_drawn_lines(scored):
    scores, labels = scored
    ranking = rank(scores, labels, np.full(200, 0.25), labels.sum() / 4)
    found = curves(ranking)
    assert auc(*points(roc_path(found))) == pytest.approx(
        roc_auc_score(labels, scores), abs=2e-3)
    assert auc(*points(pr_path(found))) == pytest.approx(
        average_precision_score(labels, scores), abs=2e-3)
    x, y = points(pro_path(found, 0.3, 0.5))
    assert x[-1] == pytest.approx(0.6)
    assert auc(x, y) / 0.6 == pytest.approx(aupro(ranking, 0.3), abs=2e-2)


def test_nothing_to_draw():
    found = curves(rank(np.arange(5.0), np.zeros(5, bool)))
    assert roc_path(found) == ''
    assert pr_path(found) == ''
    assert pro_path(found, 0.3, 0.3) == ''
