import json
import logging
import math
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
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
    images.per_defect_type = dict(cut=dict(image_auroc=1 / 3))
    images.conditions = dict(images=4, defective_images=2)
    pixels.per_defect_type = dict(cut=dict(pixel_auroc=2 / 3, aupro=math.nan))
    pixels.conditions = dict(
        resolution='input',
        fpr_limit=0.3,
        score_bits=None,
        map_size='224x224',
        cropped_images=0,
        error_bounds=dict(aupro=math.nan))
    loop = SimpleNamespace(evaluator=Evaluator([images, pixels]))
    return SimpleNamespace(
        work_dir=str(tmp_path / 'work'),
        logger=logger,
        lines=lines,
        val_loop=loop,
        test_loop=loop)


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


def read(runner):

    def refuse(name):
        raise AssertionError(f'{name} is no JSON')

    with open(f'{runner.work_dir}/metrics.json') as file:
        return json.load(file, parse_constant=refuse)


class Odd:
    """Stands for what no file can hold."""


FOREIGN = dict(
    python=(0.5, 0.5),
    whole=(3, 3),
    yes=(True, True),
    text=('a', 'a'),
    none=(None, None),
    nan=(math.nan, 'undefined'),
    infinite=(math.inf, 'infinity'),
    minus=(-math.inf, '-infinity'),
    float32=(np.float32(0.5), 0.5),
    float64=(np.float64(0.5), 0.5),
    longdouble=(np.longdouble(0.5), 0.5),
    int64=(np.int64(3), 3),
    bool_=(np.bool_(True), True),
    numpy_nan=(np.float32('nan'), 'undefined'),
    scalar=(torch.tensor(0.5, requires_grad=True), 0.5),
    one=(torch.tensor([[0.5]], dtype=torch.bfloat16), 0.5),
    array=(np.array([1, math.nan]), [1.0, 'undefined']),
    tensor=(torch.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
    pair=((1, np.int8(2)), [1, 2]),
    nothing=({}, {}),
    fraction=(Fraction(1, 4), 0.25),
    decimal=(Decimal('0.25'), 0.25),
    odd=(Odd(), 'not written: Odd'),
    raw=(b'a', 'not written: bytes'),
    path=(Path('a/b'), 'a/b'))


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_metrics_of_other_packages_alone(runner, stage):
    runner.test_loop.evaluator.metrics[:] = []
    getattr(ReportHook(), f'after_{stage}_epoch')(
        runner, metrics={
            name: given
            for name, (given, _) in FOREIGN.items()
        })
    expected = {name: written for name, (_, written) in FOREIGN.items()}
    assert read(runner) == dict(expected, per_defect_type={}, conditions={})
    assert list(read(runner))[:-2] == list(FOREIGN)


def test_entries_of_a_dict_are_metrics(runner):
    values = {
        'f1': {
            0.5: {
                'low': np.float32(0.25),
                'odd': Odd()
            },
            'best': math.nan
        },
        'own': {
            'image_auroc': 1
        }
    }
    ReportHook().after_test_epoch(runner, metrics=values)
    report = read(runner)
    assert list(report.items())[:4] == [('own/image_auroc', 1),
                                        ('f1/0.5/low', 0.25),
                                        ('f1/0.5/odd', 'not written: Odd'),
                                        ('f1/best', 'undefined')]
    assert runner.lines.text.split()[:5] == [
        'defect_type', 'own/image_auroc', 'f1/0.5/low', 'f1/best',
        'image_auroc'
    ]


def test_conditions_of_the_same_name_stay_apart(runner):

    class Own:
        conditions = dict(images=5, defective_images=2)

    runner.test_loop.evaluator.metrics.append(Own())
    ReportHook().after_test_epoch(runner, metrics=VALUES)
    conditions = read(runner)['conditions']
    assert conditions['images'] == 4
    assert conditions['Own/images'] == 5
    assert 'Own/defective_images' not in conditions


def test_evaluator_that_hides_its_metrics(runner):
    runner.test_loop.evaluator = object()
    ReportHook().before_test_epoch(runner)
    ReportHook().after_test_epoch(runner, metrics=dict(other=1))
    assert read(runner) == dict(other=1, per_defect_type={}, conditions={})


def test_known_metrics_come_first(runner):
    values = {'z': 1, 'aupro': 0.5, 'a/rmse': 2, 'image_auroc': 0.5, 'b': 3}
    names = ['image_auroc', 'aupro', 'z', 'a/rmse', 'b']
    for order in ([*values], [*values][::-1]):
        ReportHook().after_test_epoch(
            runner, metrics={name: values[name]
                             for name in order})
        report = list(read(runner))
        assert report[:2] == names[:2]
        assert sorted(report[2:5]) == sorted(names[2:])
        table = runner.lines.text.strip().splitlines()
        assert table[0].split()[1:3] == names[:2]


def test_the_table_has_the_numbers(runner):
    metrics = dict(
        rmse=12345.678,
        count=10,
        curve=[1, 2],
        name='x',
        odd=Odd(),
        worst=math.inf)
    ReportHook().after_test_epoch(runner, metrics=metrics)
    lines = runner.lines.text.strip().splitlines()
    assert lines[0].split()[:4] == ['defect_type', 'rmse', 'count', 'worst']
    assert lines[1].split()[:4] == ['all', '1.235e+04', '10', 'infinity']


BROKEN = [
    None, 3, 'text', [1], {
        'cut': None
    }, {
        'cut': 0.5
    }, {
        'cut': [1]
    }, {
        3: {
            4: Odd()
        }
    }, {
        'cut': {
            'x': math.nan
        }
    }, lambda: None
]


@pytest.mark.parametrize('section', BROKEN)
@pytest.mark.parametrize('name', ['per_defect_type', 'conditions', 'warnings'])
def test_sections_of_other_packages(runner, name, section):
    foreign = SimpleNamespace(**{name: section})
    runner.test_loop.evaluator.metrics.append(foreign)
    ReportHook().after_test_epoch(runner, metrics=dict(VALUES, other=1))
    report = read(runner)
    assert report['other'] == 1
    assert report['per_defect_type']['cut']['image_auroc'] == 1 / 3
    assert report['conditions']['images'] == 4


@pytest.mark.parametrize('conditions', [
    dict(resolution='input'),
    dict(resolution=3, fpr_limit=1, map_size=1),
    dict(resolution='input', fpr_limit='x', map_size='y')
])
def test_foreign_conditions_of_the_same_name(runner, conditions):
    runner.test_loop.evaluator.metrics[:] = [
        SimpleNamespace(conditions=conditions)
    ]
    ReportHook().after_test_epoch(runner, metrics=dict(other=1))
    assert 'pixel metrics' not in runner.lines.text


def test_names_that_the_file_needs_itself(runner):
    ReportHook().after_test_epoch(
        runner, metrics=dict(per_defect_type=0.5, conditions=0.25))
    report = read(runner)
    assert report['metrics/per_defect_type'] == 0.5
    assert report['metrics/conditions'] == 0.25
    assert 'cut' in report['per_defect_type']


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
