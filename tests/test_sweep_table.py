"""`tools/sweep_table.py`."""
import json
import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / 'tools/sweep.py'
SweepTable = runpy.run_path(str(TOOL))['SweepTable']
NAMES = ['bottle', 'carpet', 'cable']
GROUPS = dict(textures=['carpet'], objects=['bottle', 'cable'])
CONDITIONS = dict(
    resolution='input',
    map_size='224x224',
    fpr_limit=0.3,
    cropped_images=0,
    score_bits=None)


def result(auroc, aupro, **conditions):
    return dict(
        metrics=dict(image_auroc=auroc, aupro=aupro),
        conditions=dict(CONDITIONS, **conditions),
        fit_seconds=12.3,
        test_seconds=4.5)


@pytest.fixture
def table():
    table = SweepTable('method', NAMES, NAMES, GROUPS)
    # Not in the order of the rows.
    table.results.update(
        carpet=result(0.75, 0.5),
        bottle=result(1.0, 0.875),
        cable=result(0.5, 0.25))
    return table


def cells(table):
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in table.to_markdown().splitlines()
            if line.startswith('|') and set(line) != set('|-')]


def notes(table):
    return [
        line for line in table.to_markdown().splitlines()[1:]
        if line and not line.startswith('|')
    ]


def test_markdown(table):
    assert cells(table) == [
        ['category', 'image_auroc', 'aupro', 'fit, s', 'test, s'],
        ['bottle', '100.0', '87.5', '12', '4'],
        ['carpet', '75.0', '50.0', '12', '4'],
        ['cable', '50.0', '25.0', '12', '4'],
        ['mean of textures', '75.0', '50.0', '', ''],
        ['mean of objects', '75.0', '56.2', '', ''],
        ['mean', '75.0', '54.2', '', ''],
    ]
    assert notes(table) == [
        'Metrics in %; pixel metrics at model input 224x224; AUPRO up to FPR '
        '0.3.'
    ]
    assert len(set(map(len, table.to_markdown().splitlines()[2:10]))) == 1


def test_summary(table):
    summary = table.summarize()
    assert summary['categories'] == table.results
    assert [mean['of'] for mean in summary['means']] == [1, 2, 3]
    assert summary['means'][-1]['categories'] == NAMES
    assert summary['means'][-1]['metrics'] == dict(
        image_auroc=0.75, aupro=(0.875 + 0.5 + 0.25) / 3)
    assert summary['failed'] == {}
    assert summary['unfinished'] == summary['left_out'] == []


def test_failed_category(table):
    del table.results['cable']
    table.failures['cable'] = 'image "a.png" cannot be read.'
    names = [row[0] for row in cells(table)[1:]]
    assert names == [
        'bottle', 'carpet', 'mean of textures', 'mean of 1 of 2 objects',
        'mean of 2 of 3'
    ]
    assert cells(table)[-1][1:3] == ['87.5', '68.8']
    assert notes(table)[1:] == ['cable failed: image "a.png" cannot be read.']
    content = table.summarize()
    assert content['failed'] == table.failures
    assert content['means'][-1]['of'] == 3


def test_only_some_were_asked_for():
    table = SweepTable('method', ['carpet'], NAMES, GROUPS)
    table.results['carpet'] = result(0.75, 0.5)
    assert [row[0] for row in cells(table)[1:]
            ] == ['carpet', 'mean of textures', 'mean of 1 of 3']
    assert notes(table)[-1] == 'Not in this sweep: bottle, cable.'


def test_nothing_is_finished():
    table = SweepTable('method', NAMES, NAMES, GROUPS)
    assert len(cells(table)) == 1
    assert notes(table) == [
        'Metrics in %.', 'Not finished: bottle, carpet, cable.'
    ]
    assert table.summarize()['means'] == []


def test_undefined_has_no_mean(table):
    table.results['cable']['metrics']['aupro'] = 'undefined'
    rows = {row[0]: row[1:3] for row in cells(table)}
    assert rows['cable'] == ['50.0', 'undefined']
    assert rows['mean of textures'] == ['75.0', '50.0']
    assert rows['mean of objects'] == ['75.0', 'undefined']
    assert rows['mean'] == ['75.0', 'undefined']


def test_metric_that_one_category_lacks(table):
    del table.results['bottle']['metrics']['aupro']
    rows = {row[0]: row[1:3] for row in cells(table)}
    assert rows['bottle'] == ['100.0', 'undefined']
    assert rows['mean'] == ['75.0', 'undefined']


def test_unknown_seconds(table):
    table.results['cable']['fit_seconds'] = None
    assert cells(table)[3][3:] == ['-', '4']


def test_conditions_that_differ(table):
    table.results['cable'] = result(0.5, 0.25, map_size='256x256')
    table.results['bottle']['conditions'] = dict(images=3)
    assert notes(table) == [
        'Metrics in %.',
        'bottle: no pixel metrics.',
        'carpet: pixel metrics at model input 224x224; AUPRO up to FPR 0.3.',
        'cable: pixel metrics at model input 256x256; AUPRO up to FPR 0.3.',
    ]


def test_files(table, tmp_path):
    table.write(tmp_path / 'work')
    assert {
        path.name: path.read_text()
        for path in (tmp_path / 'work').iterdir()
    } == {
        'sweep.md': table.to_markdown(),
        'sweep.json': json.dumps(table.summarize(), indent=2) + '\n'
    }


def test_metrics_of_other_packages(table):
    for number, name in enumerate(NAMES):
        table.results[name]['metrics'].update({
            'rmse': 12.5 + number,
            'count': 3,
            'curve': [1, 2],
            'text': 'x',
            'none': None,
            'a/aupro': 0.5
        })
    table.results['cable']['metrics']['rmse'] = 'infinity'
    table.results['cable']['metrics']['count'] = [3]
    rows = {row[0]: row[1:-2] for row in cells(table)}
    assert rows['category'] == [
        'image_auroc', 'aupro', 'rmse', 'count', 'a/aupro'
    ]
    assert rows['carpet'][2:] == ['13.5', '3', '50.0']
    assert rows['cable'][2:] == ['infinity', '-', '50.0']
    assert rows['mean'][2:] == ['undefined', 'undefined', '50.0']
    assert notes(table)[0].startswith('Metrics in %, rmse, count as they are;')
    content = table.summarize()
    assert content['categories']['carpet']['metrics']['curve'] == [1, 2]


def test_only_metrics_of_other_packages(table):
    for name in NAMES:
        table.results[name].update(
            metrics=dict(rmse=2.0), conditions=dict(resolution='x'))
    assert [row[1] for row in cells(table)[1:]] == ['2'] * 6
    assert notes(table) == [
        'Metrics in %, rmse as they are; no pixel '
        'metrics.'
    ]


def test_json_is_valid_whatever_was_measured(table):
    table.results['cable']['metrics'].update(x=float('nan'), y=float('inf'))
    metrics = table.summarize()['categories']['cable']['metrics']
    assert metrics['x'] == 'undefined'
    assert metrics['y'] == 'infinity'
