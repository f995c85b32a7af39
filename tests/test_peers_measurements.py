"""The measurements of `tools/benchmarks/peers.py`."""
import json
import sys

import numpy as np
import pytest
import torch
from benchmark_tools import import_benchmarks
from torchvision.models import resnet18

from mmad.errors import InputError


@pytest.fixture
def tools(monkeypatch):
    yield from import_benchmarks(monkeypatch)


def test_loop_agrees_with_mmad(tools, tmp_path, monkeypatch):
    """Features, PaDiM's maps and PatchCore's, from the same bank."""
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
        calls.append(
            (spec['task'], peer, spec.get('label'), spec.get('memory', False)))
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
               for name in ('PatchCore 1 %', 'PatchCore 10 %', 'PaDiM',
                            'Metrics', 'Aims'))
    # The peers take turns, and another one begins the second time.
    order = [
        peer for task, peer, label, memory in calls
        if (task, label, memory) == ('predict', 'PaDiM', False)
    ]
    assert order == ['mmad', 'anomalib', 'loop', 'anomalib', 'loop', 'mmad']
    # The memory of a fit has a run of its own, also with patches in a file.
    assert sum(memory for *_, memory in calls) == 3 * 3 + 2
    assert text.count('| fit, patches in a file (s) |') == 2
    # The same bank and maps, so the same accuracy.
    ten = text.split('### PatchCore 10 %\n')[1].split('\n### ')[0]
    row, = [line for line in ten.splitlines() if '| image AUROC' in line]
    cells = [cell.strip(' †') for cell in row.split('|')[2:]]
    assert cells[0] == cells[1] == cells[3]
    results = json.loads((tmp_path / 'work/results.json').read_text())
    values = {
        name: tuple(found['values'].values())
        for name, found in results['metrics'].items()
    }
    assert values['anomalib'] == pytest.approx(values['mmad, exact'], abs=1e-9)


@pytest.mark.parametrize('memory', [False, True])
def test_only_runs_for_memory_give_it_back(tools, tmp_path, monkeypatch,
                                           memory):
    monkeypatch.delenv('MALLOC_MMAP_THRESHOLD_', raising=False)
    bench = tools('peers_bench')
    made = bench.Bench.__new__(bench.Bench)
    made.folder, made.common = tmp_path, {}
    made.args = tools('peers').parse([])
    # In place of Python with a script, a shell that says what it was given.
    for peer in ('mmad', 'anomalib', 'loop'):
        python = tmp_path / peer
        python.write_text('#!/bin/sh\n'
                          'echo "[${MALLOC_MMAP_THRESHOLD_:-0}]" > "$3"\n')
        python.chmod(0o755)
        made.pythons = {peer: python}
        found = made.run(peer, task='fit', memory=memory)
        assert found == [1 << 20 if memory else 0]


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
