"""The measurements of ``peers.py``, in turns."""
import argparse
import json
import os
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from peers_data import prepare_data, prepare_weights
from peers_environments import find_python

from mmad.errors import InputError
from mmad.evaluation.functional import aupro, auroc, rank, region_weights

HERE = Path(__file__).resolve().parent
PEERS = 'mmad', 'anomalib', 'loop'
METHODS: dict[str, dict] = {
    'PatchCore 1 %':
    dict(method='patchcore', ratio=0.01, layers=['layer2', 'layer3']),
    'PatchCore 10 %':
    dict(method='patchcore', ratio=0.1, layers=['layer2', 'layer3']),
    'PaDiM':
    dict(method='padim', ratio=None, layers=['layer1', 'layer2', 'layer3']),
}
# glibc would keep what is freed, up to 32 MiB at a time, for what comes next,
# which takes less time, but hides how much memory is needed.
MALLOC = {'MALLOC_MMAP_THRESHOLD_': str(1 << 20)}
# Largest difference of features, relative to the largest feature.
SAME = 1e-4


class Bench:
    """Runs measurements, each in a process of its own."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.pythons = {
            peer: find_python(peer, getattr(args, peer, None), args.cache)
            for peer in PEERS
        }
        self.metric_peers, self.note = list(PEERS), ''
        if not args.no_adeval:
            try:
                self.pythons['adeval'] = find_python('adeval', args.adeval,
                                                     args.cache)
                self.metric_peers.append('adeval')
            except InputError as error:
                # It is optional, unless it was asked for.
                if args.adeval:
                    raise
                self.note = f'adeval was left out: {error}'
                print(self.note)
        self.common = dict(
            data=str(folder), threads=args.threads, device=self._device())
        self.channels: list[int] = []
        self.images = 0

    def _device(self) -> str:
        """The GPU if all environments see one."""
        code = 'import torch, sys; sys.exit(not torch.cuda.is_available())'
        have = all(
            subprocess.run([self.pythons[peer], '-c', code]).returncode == 0
            for peer in PEERS)
        if self.args.device == 'cuda' and not have:
            raise InputError('--device cuda needs a GPU that PyTorch sees in '
                             'all environments; leave it out for the CPU.')
        return self.args.device or ('cuda' if have else 'cpu')

    def run(self, peer: str, **spec) -> dict:
        """Run one measurement and return its numbers."""
        label = ' '.join(
            str(spec[name]) for name in ('task', 'label') if name in spec)
        label += ', memory' if spec.get('memory') else ''
        print(f'{peer:9} {label}', flush=True)
        threads = str(self.args.threads)
        env = dict(os.environ)
        for name in ('OMP', 'MKL', 'OPENBLAS', 'NUMBA'):
            env[f'{name}_NUM_THREADS'] = threads
        if spec.get('memory'):
            env.update(MALLOC)
        asked, result = self.folder / 'spec.json', self.folder / 'result.json'
        asked.write_text(json.dumps(dict(self.common, **spec)))
        result.unlink(missing_ok=True)
        log = self.folder / f'{peer}.log'
        with log.open('w') as output:
            done = subprocess.run(
                [self.pythons[peer], HERE / f'peers_{peer}.py', asked, result],
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT)
        if done.returncode or not result.exists():
            raise InputError(f'{peer} failed ({label}, exit status '
                             f'{done.returncode}); see "{log}".')
        return json.loads(result.read_text())

    def spec(self, peer: str, name: str) -> dict:
        """Return the specification of a method."""
        method = METHODS[name]
        spec = dict(
            method,
            label=name,
            weights=str(self.weights),
            channels=self.channels,
            images=self.images,
            model=str(self.folder / f'{peer} {name}.pth'),
            picks=None,
            bank=None)
        if method['ratio']:
            spec['size'] = int(method['ratio'] * self.images *
                               (self.args.size // 8)**2)
            if (peer != 'mmad' and not self.args.full
                    and self.args.peer_picks < spec['size']):
                spec.update(
                    picks=self.args.peer_picks,
                    bank=str(self.folder / f'{name}.npy'))
        return spec

    def prepare(self) -> str:
        """Make the data, the weights and the banks that peers share."""
        args = self.args
        name = prepare_data(self.folder, args.data_root, args.category,
                            args.size, args.train_images, args.test_images)
        self.weights = prepare_weights(args.weights, self.folder)
        self.images, self.tests = (
            len(np.load(self.folder / f'{split}.npy', mmap_mode='r'))
            for split in ('train', 'test'))
        for method in METHODS:
            spec = self.spec('mmad', method)
            self.run('mmad', task='fit', **spec)
            state = torch.load(spec['model'], weights_only=True)
            if method == 'PaDiM':
                self.channels = state['reduction.indices'].tolist()
            else:
                np.save(self.folder / f'{method}.npy',
                        state['memory_bank.rows'].numpy())
        return name

    def check(self) -> tuple[dict, float]:
        """Refuse peers whose features differ.

        Returns:
            tuple[dict, float]: The versions of all, and bytes per second that
            are read from memory.
        """
        versions, bandwidth = {}, 0.0
        for method in ('PatchCore 1 %', 'PaDiM'):
            features = {}
            for peer in PEERS:
                file = self.folder / f'{peer} features.npy'
                found = self.run(
                    peer,
                    task='check',
                    features=str(file),
                    **self.spec(peer, method))
                versions.update(found['versions'])
                bandwidth = max(bandwidth, found['bandwidth'])
                features[peer] = np.load(file)
            own = features['mmad']
            for peer, other in features.items():
                error = (
                    np.abs(own - other).max() /
                    np.abs(own).max() if own.shape == other.shape else np.inf)
                if not error <= SAME:
                    raise InputError(
                        f'the features of {peer} differ from those of mmad '
                        f'({method}, {error:.1e} of the largest), so that '
                        'nothing can be compared; check the weights.')
        return versions, bandwidth

    def measure(self) -> tuple[dict, dict]:
        """Fit and predict in turns.

        Returns:
            tuple[dict, dict]: Medians by method, peer and figure; and
            accuracy alike.
        """
        runs: dict = defaultdict(list)
        for repeat in range(self.args.repeats):
            # Another one begins each time.
            order = [*PEERS[repeat % 3:], *PEERS[:repeat % 3]]
            for task in ('fit', 'predict'):
                for method in METHODS:
                    for peer in order:
                        spec = dict(self.spec(peer, method), task=task)
                        if task == 'predict':
                            spec.update(
                                singles=self.args.singles,
                                outputs=None if repeat else self._outputs(
                                    peer, method))
                        found = self.run(peer, **spec)
                        if task == 'fit':
                            self._add_fit_memory(peer, spec, found, repeat)
                        if (task, peer) == ('fit', 'mmad') and spec['ratio']:
                            spec['held_dir'] = str(self.folder / 'held')
                            again = self.run(peer, **spec)
                            self._add_fit_memory(peer, spec, again, repeat)
                            found.update({
                                f'file_{figure}': value
                                for figure, value in again.items()
                            })
                        runs[method, peer].append(found)
        return {
            method: {
                peer: medians(runs[method, peer])
                for peer in PEERS
            }
            for method in METHODS
        }, {
            method: {
                peer: self._accuracy(peer, method)
                for peer in PEERS
            }
            for method in METHODS
        }

    def _add_fit_memory(self, peer: str, spec: dict, found: dict,
                        repeat: int) -> None:
        """Replace the memory of a timed fit by that of a run of its own."""
        del found['fit_memory']
        if not repeat:
            found['fit_memory'] = self.run(
                peer, memory=True, **spec)['fit_memory']

    def _outputs(self, peer: str, method: str) -> str:
        return str(self.folder / f'{peer} {method}.npz')

    def _accuracy(self, peer: str, method: str) -> dict[str, float]:
        """Compute the accuracy of saved scores and maps, by mmad."""
        types = json.loads((self.folder / 'types.json').read_text())
        masks = np.load(self.folder / 'masks.npy')
        found = np.load(self._outputs(peer, method))
        weights, numbers = zip(*map(region_weights, masks), strict=True)
        pixels = rank(found['maps'].ravel(), masks.ravel(),
                      np.stack(weights).ravel(), sum(numbers))
        images = rank(found['scores'],
                      np.array([kind != 'good' for kind in types]))
        return {
            'image AUROC': auroc(images),
            'pixel AUROC': auroc(pixels),
            'AUPRO': aupro(pixels)
        }

    def metrics(self) -> dict:
        """Measure the metrics of all peers on the maps of mmad's PatchCore."""
        maps = np.load(self._outputs('mmad', 'PatchCore 10 %'))['maps']
        # anomalib takes the sigmoid of others, and adeval needs bounds.
        maps = (maps - maps.min()) / (maps.max() - maps.min())
        file = self.folder / 'maps.npy'
        np.save(file, maps)
        runs: dict = defaultdict(list)
        for repeat in range(self.args.repeats):
            shift = repeat % len(self.metric_peers)
            for peer in (*self.metric_peers[shift:],
                         *self.metric_peers[:shift]):
                found = self.run(peer, task='metrics', maps=str(file))
                for name, figures in found.items():
                    runs[name].append(figures)
        return {
            name: dict(medians(found), values=found[0]['values'])
            for name, found in runs.items()
        }


def medians(runs: list[dict]) -> dict:
    """Return the median of each number over runs."""
    values = defaultdict(list)
    for run in runs:
        for name, value in run.items():
            if isinstance(value, int | float):
                values[name].append(value)
    return {name: statistics.median(found) for name, found in values.items()}
