"""`tools/benchmarks/peers.py`: arguments, features and the page."""
import json
import sys

import numpy as np
import pytest
import torch
from config_texts import ROOT

from mmad.errors import InputError

FOLDER = ROOT / 'tools/benchmarks'
METHODS = {'PatchCore 1 %': 0.01, 'PatchCore 10 %': 0.1, 'PaDiM': None}
FASTER = dict(mmad=1, anomalib=60, loop=3)
ACCURACY = {'image AUROC': 0.9, 'pixel AUROC': 0.95, 'AUPRO': 0.8}


@pytest.fixture
def tools(monkeypatch):
    """Import a file of the folder of the benchmarks."""
    monkeypatch.syspath_prepend(str(FOLDER))
    known = set(sys.modules)

    def load(name):
        return __import__(name)

    yield load
    for name in set(sys.modules) - known:
        if name.startswith('peers'):
            del sys.modules[name]


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


def test_loop_agrees_with_mmad(tools, tmp_path, monkeypatch):
    """Features, PaDiM's maps and PatchCore's, from the same bank."""
    from torchvision.models import resnet18
    torch.manual_seed(0)
    weights = tmp_path / 'weights.pth'
    torch.save(resnet18(weights=None).state_dict(), weights)
    images = torch.randn(6, 3, 64, 64)
    found = {}
    for method, layers in (('patchcore', ['layer2', 'layer3']),
                           ('padim', ['layer1', 'layer2', 'layer3'])):
        spec = dict(
            method=method,
            ratio=0.2,
            layers=layers,
            weights=str(weights),
            device='cpu')
        with torch.inference_mode():
            own = tools('peers_mmad').Mmad(spec)
            own.start(6)
            own.collect(images, 0)
            own.finish(None)
            own.save(tmp_path / 'own.pth')
            again = tools('peers_mmad').Mmad(spec)
            again.load(tmp_path / 'own.pth', None)
            bank = None
            if method == 'padim':
                spec['channels'] = own.model.reduction.indices.tolist()
            else:
                bank = tmp_path / 'bank.npy'
                np.save(bank, own.model.memory_bank.rows.numpy())
            loop = tools('peers_loop').Loop(spec)
            loop.collected = []
            loop.collect(images, 0)
            loop.finish(3)
            loop.save(tmp_path / 'loop.pth')
            other = tools('peers_loop').Loop(spec)
            other.load(tmp_path / 'loop.pth', bank)
            new = torch.randn(2, 3, 64, 64)
            torch.testing.assert_close(again.embed(new), other.embed(new))
            found[method] = again.predict(new), other.predict(new)
    for (scores, maps), (others, other_maps) in found.values():
        torch.testing.assert_close(scores, others, rtol=2e-3, atol=1e-3)
        # The borders of the smoothing differ.
        inside = (..., slice(17, -17), slice(17, -17))
        torch.testing.assert_close(
            maps[inside], other_maps[inside], rtol=2e-3, atol=1e-3)


def test_metrics_agree(tools):
    generator = np.random.default_rng(0)
    maps = generator.random((4, 24, 24), dtype=np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[2, 3:9, 4:8] = masks[3, 1:3, 1:3] = masks[3, 12:20, 9:11] = True
    maps[masks] += 0.3
    types = ['good', 'good', 'hole', 'hole']
    own = tools('peers_mmad').metrics(maps, masks, types)['mmad, exact']()
    other, = tools('peers_loop').metrics(maps, masks, types).values()
    assert own == pytest.approx(other(), abs=1e-9)


def test_measurements_of_a_peer(tools, tmp_path):
    """Each task with the loop: what is measured, scaled up and saved."""
    from torchvision.models import resnet18
    torch.save(resnet18(weights=None).state_dict(), tmp_path / 'weights.pth')
    worker, loop = tools('peers_worker'), tools('peers_loop')
    generator = np.random.default_rng(0)
    for split, number in (('train', 5), ('test', 6)):
        shape = number, 3, 32, 32
        np.save(tmp_path / f'{split}.npy',
                generator.standard_normal(shape, dtype=np.float32))
    masks = np.zeros((6, 32, 32), bool)
    masks[3:, 8:20, 8:12] = True
    np.save(tmp_path / 'masks.npy', masks)
    (tmp_path / 'types.json').write_text(
        json.dumps(['good'] * 3 + ['hole'] * 3))
    np.save(tmp_path / 'bank.npy',
            generator.standard_normal((16, 384), dtype=np.float32))
    spec = dict(
        data=str(tmp_path),
        device='cpu',
        method='patchcore',
        ratio=0.2,
        layers=['layer2', 'layer3'],
        weights=str(tmp_path / 'weights.pth'),
        images=5,
        singles=2,
        size=16,
        picks=4,
        bank=None,
        model=str(tmp_path / 'model.pth'),
        features=str(tmp_path / 'features.npy'),
        outputs=str(tmp_path / 'outputs.npz'),
        maps=str(tmp_path / 'maps.npy'))
    with torch.inference_mode():
        found = worker.check(loop.Loop(spec), spec)
        fitted = worker.fit(loop.Loop(spec), spec)
        predicted = worker.predict(
            loop.Loop(spec), dict(spec, bank=str(tmp_path / 'bank.npy')))
    assert found['versions']['torch'] == torch.__version__
    assert np.load(spec['features']).shape == (4, 384, 4, 4)
    assert fitted['fit'] == fitted['features'] + fitted['coreset']
    assert len(torch.load(spec['model'])['bank']) == 4
    # With the bank that was given, not the one with four picks.
    assert predicted['size'] > (tmp_path / 'bank.npy').stat().st_size
    outputs = np.load(spec['outputs'])
    assert outputs['scores'].shape == (6, )
    assert outputs['maps'].shape == (6, 32, 32)
    np.save(spec['maps'], outputs['maps'])
    values, = worker.measure_metrics(loop.metrics, spec).values()
    assert 0 <= values['values']['AUPRO'] <= 1


def test_time_of_picks_is_scaled_up(tools):
    """What comes before the first pick is not."""
    worker = tools('peers_worker')
    clock = iter([0, 1, 10, 12, 20, 26])

    class Peer:

        def embed(self, images):
            return images

        def start(self, number):
            pass

        def collect(self, images, first):
            pass

        def finish(self, picks):
            assert picks == 2
            return 22

        def save(self, file):
            pass

    worker.Clock = lambda device: lambda: next(clock)
    worker.batches = lambda *args: iter([(0, torch.zeros(1))])
    spec = dict(
        device='cpu', data='.', images=1, picks=2, size=10, model='unused')
    found = worker.fit(Peer(), spec)
    # 2 s, and 4 s for 2 of 10 picks.
    assert found['coreset'] == 2 + 5 * 4
    assert (found['features'], found['fit']) == (2, 24)


@pytest.mark.slow
def test_whole_run(tools, mvtec_root, tmp_path, monkeypatch, capsys):
    """From the arguments to the page, with the loop in place of anomalib."""
    peers, bench = tools('peers'), tools('peers_bench')
    worker, calls = tools('peers_worker'), []

    def run(self, peer, **spec):
        spec = json.loads(json.dumps(dict(self.common, **spec)))
        calls.append((spec['task'], peer, spec.get('label')))
        kind = tools('peers_mmad' if peer == 'mmad' else 'peers_loop')
        if spec['task'] == 'metrics':
            found = worker.measure_metrics(kind.metrics, spec)
            if peer == 'anomalib':
                found = {'anomalib': found.popitem()[1]}
            return found
        task = dict(check=worker.check, fit=worker.fit, predict=worker.predict)
        with torch.inference_mode():
            made = kind.Mmad if peer == 'mmad' else kind.Loop
            return task[spec['task']](made(spec), spec)

    monkeypatch.setattr(bench.Bench, 'run', run)
    monkeypatch.setattr(bench, 'find_python', lambda *args: sys.executable)
    page = tmp_path / 'page.md'
    monkeypatch.setattr(sys, 'argv', [
        'peers.py', '--data-root',
        str(mvtec_root), '--category', 'bottle', '--size', '96', '--repeats',
        '2', '--peer-picks', '5', '--no-adeval', '--device', 'cpu',
        '--threads', '1', '--work-dir',
        str(tmp_path / 'work'), '--out',
        str(page)
    ])
    peers.main()
    text = page.read_text()
    assert text.startswith('# Benchmarks\n\n## bottle\n')
    assert 'The weights are random' in text.replace('\n', ' ')
    assert 'medians of 2 runs' in text.replace('\n', ' ')
    assert all(f'### {name}\n' in text
               for name in (*METHODS, 'Metrics', 'Aims'))
    # The peers take turns, and another one begins the second time.
    order = [
        peer for task, peer, label in calls
        if (task, label) == ('predict', 'PaDiM')
    ]
    assert order == ['mmad', 'anomalib', 'loop', 'anomalib', 'loop', 'mmad']
    # The same bank and maps, so the same accuracy.
    row, = lines_with(part(text, 'PatchCore 10 %'), '| image AUROC')
    cells = [cell.strip(' †') for cell in row.split('|')[2:]]
    assert cells[0] == cells[1] == cells[3]
    results = json.loads((tmp_path / 'work/results.json').read_text())
    values = {
        name: tuple(found['values'].values())
        for name, found in results['metrics'].items()
    }
    assert values['anomalib'] == pytest.approx(values['mmad, exact'], abs=1e-9)


def test_other_features_are_refused(tools, tmp_path):
    bench = tools('peers_bench')
    made = bench.Bench.__new__(bench.Bench)
    made.folder, made.images, made.channels = tmp_path, 10, []
    made.weights = tmp_path
    made.args = tools('peers').parse([])

    def run(peer, **spec):
        shift = 1e-3 * (peer == 'anomalib')
        np.save(spec['features'], np.ones((1, 2, 3, 3)) + shift)
        return dict(versions={}, bandwidth=1.0)

    made.run = run
    with pytest.raises(InputError, match='features of anomalib differ'):
        made.check()
