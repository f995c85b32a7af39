import os
from dataclasses import replace

import numpy as np
import pytest
from report_folders import draw_scores, make_predictions

from mmad.errors import InputError
from mmad.evaluation.predictions import Predictions


@pytest.fixture
def predictions(tmp_path):
    return make_predictions(
        tmp_path, *draw_scores(), image_threshold=2.5, method='PaDiM')


def assert_equal(one, other):
    assert one.paths == other.paths
    assert one.defect_types == other.defect_types
    assert one.about == other.about
    for name in ('scores', 'kinds', 'p_values'):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert len(one.examples) == len(other.examples)
    for mine, yours in zip(one.examples, other.examples):
        np.testing.assert_array_equal(mine.map, yours.map)
        assert replace(
            mine, map=None) == replace(
                yours, map=None, range=mine.range)
        assert mine.range == pytest.approx(yours.range)
    if other.pixel_ranking is None:
        assert one.pixel_ranking is None
    else:
        for mine, yours in zip(one.pixel_ranking, other.pixel_ranking):
            np.testing.assert_array_equal(mine, yours)


def test_loads_what_was_saved(predictions, tmp_path):
    predictions.save(tmp_path / 'file.npz')
    assert_equal(Predictions.load(tmp_path / 'file.npz'), predictions)


def test_without_what_need_not_be_there(predictions, tmp_path):
    predictions = replace(
        predictions,
        examples=[],
        pixel_ranking=None,
        p_values=np.linspace(0, 1, 35, dtype=np.float32))
    predictions.save(tmp_path / 'file.npz')
    assert_equal(Predictions.load(tmp_path / 'file.npz'), predictions)


def test_any_name_of_a_file(predictions, tmp_path):
    predictions.paths[0] = 'two\nlines </script> \u202e ' + os.fsdecode(
        b'\xe4')
    predictions.save(tmp_path / 'file.npz')
    assert Predictions.load(tmp_path / 'file.npz').paths == predictions.paths


def test_same_predictions_make_the_same_file(predictions, tmp_path):
    for name in 'ab':
        predictions.save(tmp_path / name)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


@pytest.mark.parametrize('spoil', [
    lambda content: b'', lambda content: content[:len(content) // 2],
    lambda content: b'text',
    lambda content: content.replace(b'kinds', b'kandr')
])
def test_a_damaged_file_is_named(predictions, tmp_path, spoil):
    path = tmp_path / 'file.npz'
    predictions.save(path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=r'file\.npz.*run tools/test\.py'):
        Predictions.load(path)
