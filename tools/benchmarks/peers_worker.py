"""One measurement of one peer, in a process of its own.

``python peers_NAME.py SPEC RESULT`` reads the measurement, a dict, from a
JSON file and writes a dict of numbers to another. Each peer runs in its own
environment, so that nothing but PyTorch and NumPy is imported here.
"""
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

BATCH = 32
WARM_UP = 3
STATUS = Path('/proc/self/status')


class Peer(Protocol):
    """A method of a peer, with images as normalized tensors.

    The constructor takes the specification of the measurement.
    """

    versions: dict[str, str]

    def backbone(self, images: Tensor) -> object:
        """Compute the maps of the network."""

    def embed(self, images: Tensor) -> Tensor:
        """Compute features ``(B, D, h, w)`` from images."""

    def start(self, number: int) -> None:
        """Begin a fit to so many images."""

    def collect(self, images: Tensor, first: int) -> None:
        """Take in images, of which ``first`` is the number of the first."""

    def finish(self, picks: int | None) -> float:
        """End the fit, with so many picks of the coreset.

        Returns:
            float: Time (:func:`time.perf_counter`) of the first pick.
        """

    def save(self, file: Path) -> None:
        """Write the fitted model."""

    def load(self, file: Path, bank: Path | None) -> None:
        """Read it, with the memory bank from a file of its own if given."""

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute scores ``(B,)`` and maps ``(B, 1, H, W)``."""


# Functions that compute metrics of maps; made of maps and masks (N, H, W), and
# of the defect type of each image.
Metrics = Callable[[np.ndarray, np.ndarray, list[str]],
                   dict[str, Callable[[], dict[str, float]]]]


class Clock:
    """Wall time; waits for the device before it is read."""

    def __init__(self, device: str) -> None:
        self.is_cuda = device == 'cuda'

    def __call__(self) -> float:
        if self.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


class Memory:
    """Growth of the memory of this process, or of the GPU, in bytes."""

    def __init__(self, device: str) -> None:
        self.is_cuda = device == 'cuda'
        if self.is_cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        elif STATUS.exists():
            # The peak so far becomes what is resident now.
            Path('/proc/self/clear_refs').write_text('5')
            self.before = _status('VmRSS')

    def peak(self) -> int | None:
        """Return the largest growth so far; None where it is not known."""
        if self.is_cuda:
            return torch.cuda.max_memory_allocated() - self.before
        if STATUS.exists():
            return _status('VmHWM') - self.before
        return None


def _status(name: str) -> int:
    """Return a size in bytes that the kernel has for this process."""
    entries = dict(
        line.split(':', 1) for line in STATUS.read_text().splitlines())
    return 1024 * int(entries[name].split()[0])


def batches(file: Path, size: int,
            device: str) -> Iterator[tuple[int, Tensor]]:
    """Read batches of images, and the number of the first of each."""
    number = len(np.load(file, mmap_mode='r'))
    for first in range(0, number, size):
        # Opened again, so that pages of the file count for no longer.
        images = np.load(file, mmap_mode='r')[first:first + size].copy()
        yield first, torch.from_numpy(images).to(device)


def check(peer: Peer, spec: dict) -> dict:
    """Compute features of a few images, and say what runs."""
    _, images = next(batches(_data(spec, 'test'), 4, spec['device']))
    np.save(spec['features'], peer.embed(images).cpu().numpy())
    return dict(
        versions=dict(
            peer.versions,
            python='.'.join(map(str, sys.version_info[:3])),
            torch=torch.__version__),
        bandwidth=measure_bandwidth(spec['device']))


def measure_bandwidth(device: str) -> float:
    """Measure how many bytes a second are read from memory."""
    clock, values = Clock(device), torch.ones(1 << 26, device=device)
    seconds = []
    for _ in range(5):
        begin = clock()
        values.sum()
        seconds.append(clock() - begin)
    return values.nbytes / min(seconds)


def fit(peer: Peer, spec: dict) -> dict:
    """Measure a fit: features, then coreset or Gaussians."""
    clock, file = Clock(spec['device']), _data(spec, 'train')
    _, images = next(batches(file, BATCH, spec['device']))
    for _ in range(2):
        peer.embed(images)
    begin = clock()
    peer.start(spec['images'])
    starting = clock() - begin
    memory, collecting = Memory(spec['device']), 0.0
    for first, images in batches(file, BATCH, spec['device']):
        begin = clock()
        peer.collect(images, first)
        collecting += clock() - begin
    begin = clock()
    first_pick = peer.finish(spec['picks'])
    end = clock()
    # All picks take a loop the same time.
    scale = spec['size'] / spec['picks'] if spec['picks'] else 1
    choosing = first_pick - begin + scale * (end - first_pick)
    result = dict(
        start=starting,
        features=collecting,
        coreset=choosing,
        fit=collecting + choosing,
        fit_memory=memory.peak())
    peer.save(Path(spec['model']))
    return result


def predict(peer: Peer, spec: dict) -> dict:
    """Measure predictions, one image at a time and in batches."""
    device, file = spec['device'], _data(spec, 'test')
    clock, images = Clock(device), None
    _, images = next(batches(file, BATCH, device))
    peer.backbone(images)
    memory = Memory(device)
    peer.load(Path(spec['model']), spec['bank'] and Path(spec['bank']))
    singles, alone, grouped, outputs = [], [], [], []
    for first, image in batches(file, 1, device):
        if first == WARM_UP + spec['singles']:
            break
        begin = clock()
        peer.predict(image)
        middle = clock()
        peer.backbone(image)
        if first >= WARM_UP:
            singles.append(middle - begin)
            alone.append(clock() - middle)
    peer.predict(images)
    for _, group in batches(file, BATCH, device):
        begin = clock()
        found = peer.predict(group)
        if len(group) == len(images):
            grouped.append((clock() - begin) / len(group))
        outputs.append(found)
        if grouped and not spec['outputs']:
            break
    result = dict(
        single=statistics.median(singles),
        backbone=statistics.median(alone),
        batch=statistics.median(grouped),
        predict_memory=memory.peak())
    saved = Path(spec['model']).with_suffix('.saved')
    peer.save(saved)
    result['size'] = saved.stat().st_size
    saved.unlink()
    if spec['outputs']:
        scores, maps = (
            torch.cat(part).cpu().numpy()
            for part in zip(*outputs, strict=True))
        np.savez(spec['outputs'], scores=scores, maps=maps[:, 0])
    return result


def measure_metrics(metrics: Metrics, spec: dict) -> dict:
    """Measure the time of metrics of given maps."""
    maps = np.load(spec['maps'])
    masks = np.load(Path(spec['data'], 'masks.npy'))
    types = json.loads(Path(spec['data'], 'types.json').read_text())
    # What is only slow at first: with one image of each kind.
    has_defect = masks.any((1, 2))
    some = [int(has_defect.argmin()), int(has_defect.argmax())]
    few = metrics(maps[some], masks[some], [types[index] for index in some])
    for call in few.values():
        call()
    result = {}
    for name, call in metrics(maps, masks, types).items():
        memory, begin = Memory('cpu'), time.perf_counter()
        values = call()
        result[name] = dict(
            seconds=time.perf_counter() - begin,
            memory=memory.peak(),
            values=values)
    return result


def _data(spec: dict, split: str) -> Path:
    return Path(spec['data'], f'{split}.npy')


def main(peer: Callable[[dict], Peer] | None, metrics: Metrics) -> None:
    """Do what the specification in the first argument says.

    Args:
        peer (Callable | None): Makes the method; None if there are only
            metrics.
        metrics (Metrics): Makes the metrics.
    """
    spec = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(spec['threads'])
    if peer is None or spec['task'] == 'metrics':
        result = measure_metrics(metrics, spec)
    else:
        tasks = dict(check=check, fit=fit, predict=predict)
        # A model that is built in inference mode could not be trained.
        model = peer(spec)
        with torch.inference_mode():
            result = tasks[spec['task']](model, spec)
    file = Path(sys.argv[2])
    part = file.with_suffix('.part')
    part.write_text(json.dumps(result))
    os.replace(part, file)
