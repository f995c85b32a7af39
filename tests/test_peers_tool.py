"""`tools/benchmarks/peers.py`: arguments, features and the page."""
import sys

import pytest
from benchmark_tools import import_benchmarks

from mmad.errors import InputError

METHODS = {'PatchCore 1 %': 0.01, 'PatchCore 10 %': 0.1, 'PaDiM': None}
FASTER = dict(mmad=1, anomalib=60, loop=3)
ACCURACY = {'image AUROC': 0.9, 'pixel AUROC': 0.95, 'AUPRO': 0.8}


@pytest.fixture
def tools(monkeypatch):
    yield from import_benchmarks(monkeypatch)


def figures(factor):
    return dict(
        features=2.0,
        coreset=8.0 * factor,
        fit=2 + 8.0 * factor,
        single=0.05 * factor,
        backbone=0.03,
        batch=0.04 * factor,
        fit_memory=100 * 2**20 * factor,
        predict_memory=50 * 2**20,
        size=40 * 2**20)


def metric(seconds):
    return dict(seconds=seconds, memory=2**20, values=dict(AUROC=0.75, AP=0.5))


@pytest.fixture
def results():
    return dict(
        name='plates',
        figures={
            method: {
                peer: figures(factor)
                for peer, factor in FASTER.items()
            }
            for method in METHODS
        },
        accuracy={
            method: {
                peer: dict(ACCURACY)
                for peer in FASTER
            }
            for method in METHODS
        },
        metrics={
            'mmad, exact': metric(0.5),
            'mmad, 20 bits': metric(0.75),
            'anomalib': metric(4.0),
        },
        bandwidth=1e10,
        patches=10_000,
        positions=3136,
        ratios=dict(METHODS),
        picks=200,
        conditions=dict(
            machine='a machine',
            threads=2,
            images=[80, 80],
            size=224,
            weights=None,
            repeats=3,
            quick=False,
            versions=dict(torch='2.14'),
            note=''))


def lines_with(text, *words):
    return [
        line for line in text.splitlines() if all(w in line for w in words)
    ]


def part(text, heading):
    return text.split(f'### {heading}\n')[1].split('\n### ')[0]


def test_ratios_and_marks(tools, results):
    text = tools('peers_table').section(results)
    ten, one = part(text, 'PatchCore 10 %'), part(text, 'PatchCore 1 %')
    row, = lines_with(ten, '| fit (s)')
    # 10 of mmad, 482 of anomalib, scaled up from fewer picks.
    assert row == r'| fit (s) | 10.00 | 482.00 \* | 48.20 | 26.00 \* | 2.60 |'
    row, = lines_with(ten, 'prediction, batch 1')
    assert row.count('†') == 2
    assert '50.0 | 3,000.0 † | 60.00' in row
    assert '200 picks to 1000' in ten.replace('\n', ' ')
    # 100 picks are fewer than 200, so that all are made.
    assert r'\*' not in one
    assert '†' not in one
    assert r'\*' not in part(text, 'PaDiM')


def test_without_scaling_there_are_no_marks(tools, results):
    text = tools('peers_table').section(dict(results, picks=None))
    assert r'\*' not in text
    assert '†' not in text


def test_aims_are_computed(tools, results):
    table = tools('peers_table')
    aims = part(table.section(results), 'Aims')
    row, = lines_with(aims, 'PatchCore 10 %, fit')
    assert '48.20' in row
    assert '**not met**' in row
    row, = lines_with(aims, 'peak memory')
    assert '0.02' in row
    assert '| met |' in row
    row, = lines_with(aims, 'PR curve')
    assert '| 8.00 | **not met** |' in row
    results['accuracy']['PaDiM']['mmad']['AUPRO'] -= 0.001
    results['accuracy']['PaDiM']['mmad']['image AUROC'] -= 1e-5
    results['figures']['PatchCore 10 %']['anomalib']['fit'] = 500.0
    aims = part(table.section(results), 'Aims')
    row, = lines_with(aims, 'PaDiM, AUPRO')
    assert '-0.0010 | **not met**' in row
    row, = lines_with(aims, 'PaDiM, image AUROC')
    assert '+0.0000 | met' in row
    row, = lines_with(aims, 'PatchCore 10 %, fit')
    assert '50.00 | met' in row


def test_a_fit_with_a_file_is_compared_with_the_fits_of_others(tools, results):
    text = tools('peers_table').section(results)
    assert 'file' not in text
    for method in ('PatchCore 1 %', 'PatchCore 10 %'):
        results['figures'][method]['mmad'].update(
            file_fit=5.0, file_fit_memory=25 * 2**20)
    text = tools('peers_table').section(results)
    ten = part(text, 'PatchCore 10 %')
    row, = lines_with(ten, 'fit, patches in a file')
    assert row.endswith(r'| 5.00 | 482.00 \* | 96.40 | 26.00 \* | 5.20 |')
    row, = lines_with(ten, 'peak memory of it')
    assert '| 25 | 6,000 | 240.00 |' in row
    assert 'in a file' not in part(text, 'PaDiM')
    aims = part(text, 'Aims')
    row, = lines_with(aims, '10 %, fit, patches in a file')
    assert '96.40 | met' in row
    results['figures']['PatchCore 10 %']['mmad']['file_fit_memory'] *= 100
    row, = lines_with(
        part(tools('peers_table').section(results), 'Aims'),
        'peak memory of the fit, patches in a file')
    assert '0.42 | **not met**' in row


def test_limits_are_computed(tools, results):
    limits = tools('peers_limits').limits
    results['figures']['PaDiM']['mmad']['backbone'] = 0.04
    assert '40.0 of 50.0 ms at batch 1 (80%)' in limits(results, 'PaDiM')
    # 1000 picks of 10,000 rows of 512 bytes at 10 GB/s.
    assert ' 0.5 s at the 10.0 GB/s' in limits(results, 'PatchCore 10 %')
    assert '1.5 times as long' in limits(results, 'metrics')


def test_only_the_section_of_the_data_is_replaced(tools, results):
    table = tools('peers_table')
    head = '# Benchmarks\n\n### About\n\nSome words.\n'
    page = table.replace_section(head, 'plates', 'one\n\n### Aims\n\ntwo')
    page = table.replace_section(page, 'bottle', 'three')
    again = table.replace_section(page, 'plates', 'four')
    assert again == page.replace('one\n\n### Aims\n\ntwo', 'four')
    assert again.startswith(head)
    assert table.replace_section(again, 'bottle', 'three') == again
    assert table.replace_section(
        '', 'plates', 'one') == ('# Benchmarks\n\n## plates\n\none\n')


def test_lines_are_short(tools, results):
    text = tools('peers_table').section(results)
    assert all(
        len(line) <= 120 for line in text.splitlines() if line[:1] != '|')


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--category', 'bottle'], 'needs --data-root'),
    (['--full', '--peer-picks', '3'], 'all picks'),
    (['--size', '100'], 'multiple of 8'),
    (['--repeats', '0'], '--repeats must be at least 1'),
    (['--quick', '--peer-picks', '0'], '--peer-picks must be at least 1'),
])
def test_arguments_that_do_not_fit(tools, arguments, message):
    with pytest.raises(InputError, match=message):
        tools('peers').parse(arguments)


def test_quick_leaves_what_was_given(tools):
    parse = tools('peers').parse
    quick, normal = parse(['--quick', '--repeats', '7']), parse([])
    assert quick.repeats == 7
    assert quick.train_images < 100
    assert normal.train_images is None
    assert quick.peer_picks < 200


def test_interpreter_without_the_peer(tools, tmp_path):
    find = tools('peers_environments').find_python
    assert find('loop', None, tmp_path) == sys.executable
    with pytest.raises(InputError, match='adeval'):
        find('adeval', str(tmp_path / 'python'), tmp_path)
