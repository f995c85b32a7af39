import json
import os
from pathlib import Path

import pytest
from report_runs import VALUES, report_runner

from mmad.engine.hooks.report_hook import ReportHook
from mmad.errors import InputError
from mmad.evaluation import PixelMetric
from mmad.registry import HOOKS


@pytest.fixture
def runner(tmp_path):
    return report_runner(tmp_path)


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_file(runner, stage):
    hook = HOOKS.build(dict(type='ReportHook'))
    getattr(hook, f'after_{stage}_epoch')(runner, metrics=VALUES)
    assert os.listdir(runner.work_dir) == ['metrics.json']
    with open(f'{runner.work_dir}/metrics.json') as file:
        report = json.load(file)
    assert list(report) == [
        'image_auroc', 'pixel_auroc', 'aupro', 'val_loss', 'per_defect_type',
        'conditions'
    ]
    assert report['image_auroc'] == 1 / 7
    assert report['pixel_auroc'] == 0.1 + 0.2
    assert report['aupro'] == 'undefined'
    assert report['per_defect_type'] == dict(
        cut=dict(image_auroc=1 / 3, pixel_auroc=2 / 3, aupro='undefined'))
    assert report['conditions']['error_bounds']['aupro'] == 'undefined'
    assert report['conditions']['defective_images'] == 2


def test_table(runner):
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    lines = runner.lines.text.strip().splitlines()
    assert [line.split() for line in lines[:3]] == [
        ['defect_type', 'image_auroc', 'pixel_auroc', 'aupro', 'val_loss'],
        ['all', '0.1429', '0.3000', 'undefined', '1.0000'],
        ['cut', '0.3333', '0.6667', 'undefined', '-'],
    ]
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[3] == ('pixel metrics at model input 224x224; '
                        'AUPRO up to FPR 0.3')


def test_prefixed_metrics_stay_apart(runner):
    other = PixelMetric(resolution='original', prefix='full')
    other.per_defect_type = dict(cut=dict(aupro=0.5))
    other.conditions = dict(
        resolution='original',
        fpr_limit=0.1,
        score_bits=20,
        map_size='900x900',
        cropped_images=3)
    runner.test_loop.evaluator.metrics.append(other)
    ReportHook().after_test_epoch(
        runner, metrics=dict(VALUES, **{'full/aupro': 0.25}))
    with open(f'{runner.work_dir}/metrics.json') as file:
        report = json.load(file)
    assert report['full/aupro'] == 0.25
    assert report['per_defect_type']['cut']['full/aupro'] == 0.5
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
    for nothing in ({}, None):
        ReportHook().after_val_epoch(runner, metrics=nothing)
    assert not os.path.exists(runner.work_dir)


def test_only_the_first_process_reports(runner, monkeypatch):
    monkeypatch.setattr('mmad.engine.hooks.report_hook.is_main_process',
                        lambda: False)
    ReportHook().after_val_epoch(runner, metrics=VALUES)
    assert not os.path.exists(runner.work_dir)


def test_a_defect_type_may_be_called_all(runner):
    images = runner.test_loop.evaluator.metrics[0]
    images.per_defect_type = dict(all=dict(image_auroc=0.25))
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    lines = runner.lines.text.splitlines()
    assert [line.split()[1] for line in lines
            if line.startswith('all')] == ['0.1429', '0.2500']


def test_each_warning_is_told_once(runner):
    images, pixels = runner.test_loop.evaluator.metrics
    images.warnings = ['2 of 3 are empty.']
    pixels.warnings = ['2 of 3 are empty.', 'Another.']
    hook = ReportHook()
    for _ in range(2):
        hook.after_val_epoch(runner, metrics=VALUES)
    assert runner.lines.text.count('2 of 3 are empty.') == 1
    assert runner.lines.text.count('Another.') == 1


def test_what_the_masks_lack_is_in_the_caption(runner):
    pixels = runner.test_loop.evaluator.metrics[1]
    pixels.conditions.update(pixel_empty_masks=0, pixel_defects_removed=3)
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    assert runner.lines.text.strip().endswith(
        '; 3 defective images without a defect left')


@pytest.mark.parametrize('defect_type',
                         [os.fsdecode(b'kr\xe4tz'), 'two\nlines'])
def test_any_name_of_a_defect_type_is_logged_in_one_line(runner, defect_type):
    images, pixels = runner.test_loop.evaluator.metrics
    images.per_defect_type = {defect_type: dict(image_auroc=0.25)}
    pixels.per_defect_type = {}
    images.warnings = [f'test/{defect_type}/000.png is empty.']
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    lines = runner.lines.text.encode().decode().splitlines()
    assert sum(line.split()[:1] == ['all'] for line in lines) == 1
    assert sum('0.2500' in line for line in lines) == 1
    assert sum(line.endswith('is empty.') for line in lines) == 1
    report = json.loads((Path(runner.work_dir) / 'metrics.json').read_text())
    assert list(report['per_defect_type']) == [defect_type]
