"""Measure PatchCore's memory bank on a long stream of images.

Random features take the place of those of a network: smooth in the image, of
few degrees of freedom, with some noise. Shown are peak memory, time and what
the bank covers: the bound that a fit states, and the largest distance of any
patch from the bank, which a second pass over the stream finds. With --exact,
as many rows are also chosen from all patches, without a budget.
"""
import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmad.models.layers import CoresetBank
from mmad.models.layers.coreset import random_projection
from mmad.utils.command_line import one_sentence_errors

_DEGREES = 16
_PROJECTION_DIM = 128


def draw(args: argparse.Namespace) -> Iterator[Tensor]:
    """Draw the features ``(1, D, h, w)`` of one image after the other."""
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(args.dim, _DEGREES, generator=generator)
    size = (args.grid, args.grid)
    for number in range(args.images):
        generator.manual_seed(number)
        coarse = torch.randn(1, _DEGREES, 4, 4, generator=generator)
        smooth = F.interpolate(coarse, size, mode='bilinear')
        noise = torch.randn(1, args.dim, *size, generator=generator)
        yield torch.einsum('dk,bkhw->bdhw', mixture, smooth).add_(
            noise, alpha=args.noise)


def fit(args: argparse.Namespace, budget: int, ratio: float) -> dict:
    bank = CoresetBank(
        ratio,
        _PROJECTION_DIM,
        memory_budget=budget,
        held_dtype=args.held_dtype,
        held_dir=args.held_dir)
    bank.prepares_leaving_out = args.leave_out
    bank.num_images = args.images
    bank.reset()
    before, start = peak_memory(), time.perf_counter()
    for number, features in enumerate(draw(args)):
        bank.update(features, [number])
    collected = time.perf_counter()
    bank.finalize()
    return dict(
        before=before,
        memory=peak_memory(),
        collect=collected - start,
        select=time.perf_counter() - collected,
        held=bank.num_held,
        rows=len(bank),
        covering=bank.covering,
        farthest=farthest_patch(args, bank.rows))


def farthest_patch(args: argparse.Namespace, rows: Tensor) -> float:
    """Find the largest distance of a patch, in the space of the selection."""
    matrix = random_projection(args.dim, _PROJECTION_DIM)
    rows = rows @ matrix
    return max(
        float(
            torch.cdist(features[0].flatten(1).T @ matrix, rows).amin(1).max())
        for features in draw(args))


def peak_memory() -> float:
    """Peak memory of this process in GiB."""
    # Not getrusage: its peak begins with that of the parent process.
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s*(\d+)', status)[1]) / (1 << 20)


def run_alone(budget: int, ratio: float) -> dict:
    """Run a fit in a process of its own."""
    command = [
        sys.executable, __file__, *sys.argv[1:], '--task',
        str(budget),
        repr(ratio)
    ]
    out = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(out.splitlines()[-1])
    print(
        f'{found["held"]:10}{found["rows"]:9}{found["before"]:11.2f}'
        f'{found["memory"]:7.2f}{found["collect"]:10.0f}'
        f'{found["select"]:9.0f}{found["farthest"]:10.3f}',
        flush=True)
    return found


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=20_000)
    parser.add_argument(
        '--grid', type=int, default=28, help='patches along a side')
    parser.add_argument('--dim', type=int, default=384)
    parser.add_argument('--noise', type=float, default=0.5)
    parser.add_argument('--ratio', type=float, default=0.01)
    parser.add_argument('--memory-budget', type=int, default=2 << 30)
    parser.add_argument('--held-dtype', default='float32')
    parser.add_argument('--held-dir', help='folder for the held patches')
    parser.add_argument(
        '--leave-out',
        action='store_true',
        help='choose what scores of images that are left out need, too')
    parser.add_argument('--exact', action='store_true')
    parser.add_argument('--task', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task is not None:
        budget, ratio = args.task
        print(json.dumps(fit(args, int(budget), float(ratio))))
        return
    patches = args.images * args.grid**2
    print(f'{args.images} images of {args.grid**2} patches in {args.dim} '
          f'dimensions, {torch.get_num_threads()} threads')
    print(f'{"held":>10}{"rows":>9}{"GiB before":>11}{"peak":>7}'
          f'{"collect s":>10}{"select s":>9}{"farthest":>10}')
    found = run_alone(args.memory_budget, args.ratio)
    if args.exact:
        # As many rows, and half of one against rounding.
        exact = run_alone(1 << 62, (found['rows'] + 0.5) / patches)
        print(f'farthest: {found["farthest"] / exact["farthest"]:.3f} times '
              'that of the choice from all patches')
    if found['covering'] is not None:
        radius, factor = found['covering']
        print(f'stated: within {radius:.3f}, at most {factor:.2f} times the '
              'least possible')


if __name__ == '__main__':
    main()
