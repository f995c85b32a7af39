"""Measure what a fit of PatchCore costs, and estimate larger ones.

Fits of several numbers of patches, ratios and numbers of processes are
measured, each in new processes, which share the threads, and their section in
docs/sizing.md is replaced. Without --data-root, the data are the generated
plates; without --weights, the weights are random.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from peers_data import prepare_data, prepare_weights
from peers_machine import describe_machine
from peers_mmad import Mmad
from peers_table import replace_section, table, wrap
from peers_worker import BATCH, Memory, measure_bandwidth

from mmad.utils import write_atomically
from mmad.utils.command_line import one_sentence_errors

PAGE = Path(__file__).resolve().parents[2] / 'docs/sizing.md'
LAYERS = ['layer2', 'layer3']
CHANNELS = 384
PROJECTED = 128
FLOAT = 4
# Patches, ratio and number of GPUs of the estimates.
LARGE = [(10**7, 0.01, 1), (10**7, 0.01, 8), (10**8, 0.01, 8),
         (10**8, 0.01, 64), (10**8, 0.1, 64)]


@torch.inference_mode()
def work(spec: dict) -> None:
    """Fit in this process, one of several, and write what it took."""
    rank, world = (int(os.environ[name]) for name in ('RANK', 'WORLD_SIZE'))
    torch.set_num_threads(spec['threads'])
    if world > 1:
        dist.init_process_group('gloo')
    peer = Mmad(dict(spec, method='patchcore', layers=LAYERS, device='cpu'))
    # Images are dealt out in turn, as by the sampler of a fit.
    images = torch.from_numpy(np.load(spec['images'])[rank::world].copy())
    peer.embed(images[:8])
    peer.start(spec['number'])
    memory, begin = Memory('cpu'), time.perf_counter()
    for start in range(0, len(images), BATCH):
        own = images[start:start + BATCH]
        peer.collect(own, start * world + rank, world)
    middle = time.perf_counter()
    peer.finish(None)
    result = dict(
        features=middle - begin,
        coreset=time.perf_counter() - middle,
        memory=memory.peak())
    times = []
    for image in images[:12]:
        begin = time.perf_counter()
        peer.backbone(image[None])
        middle = time.perf_counter()
        peer.predict(image[None])
        times.append((middle - begin, time.perf_counter() - middle))
    backbone, predict = np.median(times[2:], axis=0)
    result.update(backbone=backbone, predict=predict)
    Path(f'{spec["result"]}.{rank}').write_text(json.dumps(result))


def measure(folder: Path, spec: dict, processes: int) -> dict:
    """Run a fit in so many processes; the slowest and largest counts."""
    result = folder / 'result.json'
    file = folder / 'spec.json'
    spec = dict(
        spec, result=str(result), threads=max(1, spec['threads'] // processes))
    file.write_text(json.dumps(spec))
    env = dict(os.environ)
    for name in ('OMP', 'MKL', 'NUMBA'):
        env[f'{name}_NUM_THREADS'] = str(spec['threads'])
    subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        f'--nproc-per-node={processes}', __file__, '--work', file
    ],
                   env=env,
                   check=True,
                   stdout=subprocess.DEVNULL)
    found = [
        json.loads(Path(f'{result}.{rank}').read_text())
        for rank in range(processes)
    ]
    return {name: max(one[name] for one in found) for name in found[0]}


def fit_power(runs: list[dict]) -> tuple[float, float, float]:
    """Fit ``seconds = c n^a k^b`` to the coresets of one process.

    Returns:
        tuple[float, float, float]: ``c``, ``a`` and ``b``.
    """
    logs = np.log([[run['patches'], run['rows']] for run in runs])
    matrix = np.column_stack([np.ones(len(runs)), logs])
    seconds = np.log([run['coreset'] for run in runs])
    constant, patches, rows = np.linalg.lstsq(matrix, seconds)[0]
    return math.exp(constant), float(patches), float(rows)


def on_gpus(patches: int, ratio: float, gpus: int, bandwidth: float,
            latency: float, channels: int) -> dict[str, float]:
    """Estimate a coreset on GPUs, by what each has to read and hold.

    Each pick reads the projected features of a GPU once, and has one exchange
    among all.

    Args:
        patches (int): Number of patches, over all GPUs.
        ratio (float): Share that is chosen.
        gpus (int): Number of GPUs.
        bandwidth (float): Bytes per second that a GPU reads.
        latency (float): Seconds of an exchange.
        channels (int): Length of a feature.

    Returns:
        dict[str, float]: ``seconds``, ``held`` bytes per GPU while fitting,
        and ``bank`` bytes.
    """
    own = patches / gpus
    rows = ratio * patches
    exchange = latency if gpus > 1 else 0.0
    return dict(
        seconds=rows * (own * PROJECTED * FLOAT / bandwidth + exchange),
        held=own * (channels + PROJECTED) * FLOAT,
        bank=rows * channels * FLOAT)


def report(runs: list[dict], args: argparse.Namespace, bandwidth: float,
           channels: int) -> str:
    """Write the tables."""
    rows = [[
        str(run['size']), f'{run["ratio"]:.0%}',
        str(run['processes']), f'{run["patches"]:,}', f'{run["rows"]:,}',
        f'{run["features"]:.1f}', f'{run["coreset"]:.2f}',
        '-' if run['memory'] is None else f'{run["memory"] / 2**20:.0f}',
        f'{run["backbone"] * 1e3:.0f}', f'{run["predict"] * 1e3:.0f}'
    ] for run in runs]
    text = table([
        'pixels', 'ratio', 'processes', 'patches', 'rows', 'features (s)',
        'coreset (s)', 'memory per process (MiB)', 'backbone (ms)',
        'prediction (ms)'
    ], rows)
    single = [run for run in runs if run['processes'] == 1]
    words = (f'{describe_machine()}, {args.threads} threads, which the '
             f'processes share, PyTorch {torch.__version__}; memory is read '
             f'at {bandwidth / 1e9:.1f} GB/s. ')
    if len(single) >= 4:
        constant, patches, chosen = fit_power(single)
        words += (f'In one process, the coreset takes about {constant:.1e} s '
                  f'times patches to the power of {patches:.2f} times rows to '
                  f'the power of {chosen:.2f}. ')
    words += ('Memory is the growth of each process during its fit, its '
              'images as tensors not counted.')
    text = f'{wrap(words)}\n{text}\n'
    estimates = []
    for number, ratio, gpus in LARGE:
        found = on_gpus(number, ratio, gpus, args.gpu_bandwidth * 1e12,
                        args.latency * 1e-6, channels)
        estimates.append([
            f'{number:,}', f'{ratio:.0%}',
            str(gpus), f'{found["seconds"] / 60:,.1f}',
            f'{found["held"] / 1e9:,.1f}', f'{found["bank"] / 1e9:,.1f}'
        ])
    words = wrap(
        'Extrapolated, not measured, for GPUs that read '
        f'{args.gpu_bandwidth:g} TB/s, exchanges of {args.latency:g} µs among '
        f'them and {channels} channels; each pick reads what its GPU holds '
        'of the projected patches once:')
    return f'{text}{words}\n' + table([
        'patches', 'ratio', 'GPUs', 'coreset (min)', 'held per GPU (GB)',
        'bank (GB)'
    ], estimates)


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data-root', type=Path)
    parser.add_argument('--category')
    parser.add_argument('--weights', type=Path)
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=[112, 160, 224])
    parser.add_argument('--ratios', type=float, nargs='+', default=[0.01, 0.1])
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--train-images', type=int)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument(
        '--gpu-bandwidth', type=float, default=2.0, help='TB/s of a GPU')
    parser.add_argument(
        '--latency',
        type=float,
        default=50.0,
        help='microseconds of an exchange among GPUs')
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/sizing'))
    parser.add_argument('--out', type=Path, default=PAGE)
    parser.add_argument('--work', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(json.loads(args.work.read_text()))
        return
    folder = args.work_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for size in args.sizes:
        name = prepare_data(folder, args.data_root, args.category, size,
                            args.train_images)
        number = len(np.load(folder / 'train.npy', mmap_mode='r'))
        patches = number * (size // 8)**2
        for ratio, processes in product(args.ratios, args.processes):
            print(
                f'{size} pixels, {ratio:.0%}, {processes} processes',
                flush=True)
            spec = dict(
                ratio=ratio,
                images=str(folder / 'train.npy'),
                number=number,
                weights=str(prepare_weights(args.weights, folder)),
                threads=args.threads)
            runs.append(
                dict(
                    measure(folder, spec, processes),
                    size=size,
                    ratio=ratio,
                    processes=processes,
                    patches=patches,
                    rows=int(ratio * patches)))
    text = report(runs, args, measure_bandwidth('cpu'), CHANNELS)
    page = args.out.read_text() if args.out.exists() else ''
    write_atomically(args.out,
                     replace_section(page, f'Measured: {name}', text).encode())
    print(f'{text}\nThis section is in {args.out}.')


if __name__ == '__main__':
    main()
