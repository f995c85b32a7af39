import json
import logging
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.evaluator import Evaluator

from mmad.engine.hooks.report_hook import ReportHook
from mmad.errors import InputError
from mmad.evaluation import ImageMetric, PixelMetric
from mmad.registry import HOOKS


class Lines(logging.Handler):

    def __init__(self):
        super().__init__()
        self.text = ''

    def emit(self, record):
        self.text += record.getMessage() + '\n'


@pytest.fixture
def runner(tmp_path):
    logger = logging.Logger('report')
    lines = Lines()
    logger.addHandler(lines)
    images, pixels = ImageMetric(), PixelMetric()
    images.per_kind = dict(cut=dict(image_auroc=1 / 3))
    images.conditions = dict(images=4, defective_images=2)
    pixels.per_kind = dict(cut=dict(pixel_auroc=2 / 3, aupro=math.nan))
    pixels.conditions = dict(
        resolution='input', fpr_limit=0.3, score_bits=None,
        map_size='224x224', cropped_images=0,
        error_bounds=dict(aupro=math.nan))
    loop = SimpleNamespace(evaluator=Evaluator([images, pixels]))
    return SimpleNamespace(
        work_dir=str(tmp_path / 'work'), logger=logger, lines=lines,
        val_loop=loop, test_loop=loop)


VALUES = dict(
    val_loss=1.0, aupro=math.nan, pixel_auroc=0.1 + 0.2, image_auroc=1 / 7)


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_file(runner, stage):
    hook = HOOKS.build(dict(type='ReportHook'))
    getattr(hook, f'after_{stage}_epoch')(runner, metrics=VALUES)
    assert os.listdir(runner.work_dir) == ['metrics.json']
    with open(f'{runner.work_dir}/metrics.json') as file:
        report = json.load(file)
    assert list(report) == [
        'image_auroc', 'pixel_auroc', 'aupro', 'per_kind', 'conditions'
    ]
    assert report['image_auroc'] == 1 / 7
    assert report['pixel_auroc'] == 0.1 + 0.2
    assert report['aupro'] == 'undefined'
    assert report['per_kind'] == dict(
        cut=dict(image_auroc=1 / 3, pixel_auroc=2 / 3, aupro='undefined'))
    assert report['conditions']['error_bounds']['aupro'] == 'undefined'
    assert report['conditions']['defective_images'] == 2


def test_table(runner):
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    lines = runner.lines.text.strip().splitlines()
    assert [line.split() for line in lines[:3]] == [
        ['kind', 'image_auroc', 'pixel_auroc', 'aupro'],
        ['all', '0.1429', '0.3000', 'undefined'],
        ['cut', '0.3333', '0.6667', 'undefined'],
    ]
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[3] == ('pixel metrics at model input 224x224; '
                        'AUPRO up to FPR 0.3')


def test_prefixed_metrics_stay_apart(runner):
    other = PixelMetric(resolution='original', prefix='full')
    other.per_kind = dict(cut=dict(aupro=0.5))
    other.conditions = dict(
        resolution='original', fpr_limit=0.1, score_bits=20,
        map_size='900x900', cropped_images=3)
    runner.test_loop.evaluator.metrics.append(other)
    ReportHook().after_test_epoch(
        runner, metrics=dict(VALUES, **{'full/aupro': 0.25}))
    with open(f'{runner.work_dir}/metrics.json') as file:
        report = json.load(file)
    assert report['full/aupro'] == 0.25
    assert report['per_kind']['cut']['full/aupro'] == 0.5
    assert report['conditions']['full/resolution'] == 'original'
    assert runner.lines.text.strip().endswith(
        'full/pixel metrics at the original resolution 900x900; full/AUPRO up '
        'to FPR 0.1; pixels outside the crop left out; scores kept to 20 bits')


def test_caption_of_anomalous_images_only(runner):
    pixels = runner.test_loop.evaluator.metrics[1]
    pixels.conditions['anomalous_only'] = True
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    assert runner.lines.text.strip().endswith(
        '\npixel metrics of anomalous images only at model input 224x224; '
        'AUPRO up to FPR 0.3')


def test_a_failed_write_leaves_the_old_file(runner, monkeypatch):
    ReportHook().after_val_epoch(runner, metrics=VALUES)
    path = Path(runner.work_dir) / 'metrics.json'
    before = path.read_bytes()

    def fail(source, target):
        raise OSError('full')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(InputError, match='cannot be written'):
        ReportHook().after_val_epoch(runner, metrics=dict(image_auroc=0.0))
    assert path.read_bytes() == before
    assert os.listdir(runner.work_dir) == ['metrics.json']


def test_nothing_to_report(runner):
    ReportHook().after_val_epoch(runner, metrics=dict(val_loss=1.0))
    assert not os.path.exists(runner.work_dir)


def test_only_the_first_process_reports(runner, monkeypatch):
    monkeypatch.setattr(
        'mmad.engine.hooks.report_hook.is_main_process', lambda: False)
    ReportHook().after_val_epoch(runner, metrics=VALUES)
    assert not os.path.exists(runner.work_dir)
