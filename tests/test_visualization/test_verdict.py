import pytest

from mmad.structures import AnomalyDataSample
from mmad.visualization.verdict import describe


@pytest.mark.parametrize(('predicted', 'label', 'kind', 'word', 'outcome'), [
    (True, 1, 'cut', 'DEFECTIVE', 'correct, labeled cut'),
    (False, 0, 'good', 'good', 'correct, labeled good'),
    (False, 1, 'cut', 'good', 'MISSED, labeled cut'),
    (True, 0, 'good', 'DEFECTIVE', 'FALSE ALARM, labeled good'),
    (False, 1, None, 'good', 'MISSED, labeled defective'),
    (True, None, None, 'DEFECTIVE', ''),
    (None, 1, 'cut', '', 'labeled cut'),
    (None, None, 'cut', '', 'labeled cut'),
    (None, None, None, '', ''),
])
def test_words(predicted, label, kind, word, outcome):
    sample = AnomalyDataSample()
    if predicted is not None:
        sample.pred_label = predicted
    if label is not None:
        sample.gt_label = label
    if kind is not None:
        sample.set_metainfo(dict(defect_type=kind))
    assert describe(sample)[:2] == (word, outcome)


@pytest.mark.parametrize(('threshold', 'p_value', 'text'), [
    (2.0, 0.02, 'score 3 = 1.50 times the threshold 2, p = 0.02'),
    (-2.0, None, 'score 3, threshold -2'),
    (0.0, None, 'score 3, threshold 0'),
    (None, None, 'score 3, not calibrated'),
])
def test_numbers(threshold, p_value, text):
    sample = AnomalyDataSample(pred_score=3.0)
    if threshold is not None:
        sample.set_metainfo(dict(image_threshold=threshold))
    if p_value is not None:
        sample.p_value = p_value
    assert describe(sample).numbers == text


def test_no_score():
    assert describe(AnomalyDataSample()) == ('', '', '', '')


@pytest.mark.parametrize(('meta', 'file'), [
    (dict(img_path='/data/bottle/cut/003.png', sample_idx=7), 'cut/003.png'),
    (dict(img_path='003.png'), '003.png'),
    (dict(sample_idx=7), 'image 7'),
])
def test_file(meta, file):
    assert describe(AnomalyDataSample(metainfo=meta)).file == file
