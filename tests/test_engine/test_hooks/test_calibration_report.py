import json
import logging
from types import SimpleNamespace

import pytest
import torch

from mmad.engine.hooks.calibration_report import report_calibration
from mmad.models.layers import Decision


@pytest.fixture
def report(tmp_path, caplog):
    """Report a calibration with some scores; what is logged and written."""

    def run(scores, wanted, paths=None, method='held_out', given=None):
        scores = torch.tensor(scores)
        decision = Decision()
        decision.calibrate(scores, 2 * scores, wanted, method)
        if given is not None:
            decision.set_thresholds(*given, 'given')
        runner = SimpleNamespace(
            work_dir=str(tmp_path), logger=logging.getLogger('calibration'))
        if paths is None:
            paths = [f'a/{number}.png' for number in range(len(scores))]
        caplog.clear()
        with caplog.at_level('INFO', 'calibration'):
            report_calibration(runner, decision, wanted, paths, scores)
        record = json.loads((tmp_path / 'calibration.json').read_text())
        return decision, record, caplog.records

    return run


def test_file(report):
    decision, record, _ = report([2.0, 9, 4, 1, 7], 0.4)
    assert record.pop('images') == [
        dict(path=f'a/{number}.png', score=score)
        for number, score in [(1, 9), (4, 7), (2, 4), (0, 2), (3, 1)]
    ]
    image, pixel = decision.thresholds.tolist()
    assert record == dict(
        decision.conditions, image_threshold=image, pixel_threshold=pixel)


@pytest.mark.parametrize(('method', 'how'),
                         [('held_out', 'held out'),
                          ('leave_one_out', 'each left out of the fit')])
def test_log(report, method, how):
    decision, _, records = report([2.0, 9, 4, 1, 7], 0.4, method=method)
    assert [record.levelname for record in records] == ['INFO'] * 3
    threshold, scores, oddest = (record.getMessage() for record in records)
    image, pixel = decision.thresholds.tolist()
    assert threshold == (
        f'Threshold: {image:g}, of the map {pixel:g}, for a false-alarm rate '
        f'of 40 %, from 5 normal images, {how}')
    # Five images do not tell the 90 % quantile from the highest.
    assert scores == 'Their scores: 1 (lowest), 4 (median), 9 (highest)'
    assert oddest == 'Oddest normal images: 1.png (9), 4.png (7), 2.png (4)'


def test_quantiles_of_many(report):
    *_, records = report([float(number) for number in range(101)], 0.1)
    assert records[1].getMessage() == (
        'Their scores: 0 (lowest), 50 (median), 90 (90 %), 99 (99 %), '
        '100 (highest)')


def test_a_rate_that_so_few_cannot_tell(report):
    _, record, records = report([1.0, 2, 3, 4], 0.01)
    warning = records[0]
    assert warning.levelname == 'WARNING'
    assert warning.getMessage().startswith(
        '4 normal images cannot tell a false-alarm rate below 20 %, which is '
        'used in place of 1 %; calibrate with at least 99, or raise ')
    assert record['false_alarm_rate'] == 0.2
    # 99 images can.
    *_, records = report([float(number) for number in range(99)], 0.01)
    assert {record.levelname for record in records} == {'INFO'}


def test_given_thresholds(report):
    _, record, records = report([1.0, 2, 3], 0.3, given=(5, 6))
    message, = (record.getMessage() for record in records)
    assert message == 'Threshold: 5, of the map 6 (given)'
    assert record['image_threshold'] == 5
    assert len(record['images']) == 3


def test_images_without_a_readable_name(report):
    _, record, records = report([1.0, 2], 0.4, [None, 'a\n\x1b.png'])
    assert [image['path']
            for image in record['images']] == ['a\n\x1b.png', None]
    message = records[-1].getMessage()
    assert message.isprintable()
    assert message.endswith('? (1)')
