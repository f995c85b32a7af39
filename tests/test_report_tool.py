"""What `tools/report.py` makes of the work directories of the tools."""
import json
import re

import numpy as np
from run_tools import CATEGORY, is_one_sentence, metrics
from sklearn.metrics import roc_auc_score

from mmad.evaluation.predictions import Predictions


def test_report_on_a_training_and_a_test(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'test.py', config,
                      trained / 'work' / 'epoch_1.pth', *CATEGORY,
                      '--work-dir', 'test')
    assert result.status == 0, result.err
    found = Predictions.load(tmp_path / 'test' / 'predictions.npz')
    before = Predictions.load(trained / 'work' / 'predictions.npz')
    np.testing.assert_array_equal(found.scores, before.scores)
    assert found.paths == before.paths
    assert (before.about['split'], found.about['split']) == ('val', 'test')
    assert found.about['method'] == 'PatchCore'
    auroc = json.loads(metrics(tmp_path / 'test'))['image_auroc']
    assert roc_auc_score(found.is_defective, found.scores) == auroc

    result = run_tool(tmp_path, 'report.py', 'test', trained / 'work', '--out',
                      'report.html')
    assert result.status == 0, result.err
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    data = json.loads(
        re.search('id="data">(.*?)</script>', page, re.DOTALL)[1])
    for run in data['runs']:
        assert [item['score']
                for item in run['gallery']] == found.scores.tolist()
        assert run['counts'] == [3, 2, 3]
    # The model saw a crop of the images, which both runs share.
    assert len(data['pictures']) == 8 + 2 * 8 + 5
    assert 'do not compare' not in page


def test_what_cannot_be_reported(run_tool, tmp_path):
    for args, message in ((['nothing'], 'is not a folder'),
                          (['.'], 'no results of a test')):
        result = run_tool(tmp_path, 'report.py', *args)
        assert is_one_sentence(result)
        assert message in result.err
    (tmp_path / 'metrics.json').write_text('{}')
    result = run_tool(tmp_path, 'report.py', '.', '--out', '.')
    assert is_one_sentence(result)
    assert 'must be a file' in result.err
