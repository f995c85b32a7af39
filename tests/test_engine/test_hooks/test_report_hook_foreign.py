"""Metrics of other packages, with any value and any section."""
import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from report_runs import VALUES, report_runner

from mmad.engine.hooks.report_hook import ReportHook


@pytest.fixture
def runner(tmp_path):
    return report_runner(tmp_path)


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
