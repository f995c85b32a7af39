"""Measure the time per image of a fitted detector and of its backbone.

For PatchCore, the time of each step is shown as well. The images are noise,
for which the search takes longer than for parts like those of the fit.
"""
import argparse
from collections.abc import Callable

import torch
from timing import median_seconds
from torch import Tensor

from mmad.apis import init_model
from mmad.errors import InputError
from mmad.models import BaseDetector, PatchCore
from mmad.utils.command_line import one_sentence_errors

Parts = dict[str, Callable[[], object]]


def patchcore_parts(model: PatchCore, inputs: Tensor) -> Parts:
    """Return the steps of PatchCore after the backbone, as functions."""
    maps = model.backbone(inputs)
    features = model.patch_features(maps)
    queries = features.flatten(2).transpose(1, 2)
    distances, nearest = model.memory_bank(queries.flatten(0, 1))
    distances = distances.view(len(inputs), -1)
    nearest = nearest.view_as(distances)
    grid = distances.view(len(inputs), 1, *features.shape[-2:])
    return dict(
        features=lambda: model.patch_features(maps),
        search=lambda: model.memory_bank(queries.flatten(0, 1)),
        map=lambda: model.anomaly_map(grid, inputs.shape[-2:]),
        score=lambda: model._image_score(queries, distances, nearest))


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 32])
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument(
        '--backend',
        choices=['torch', 'faiss'],
        help='backend of the search of PatchCore')
    args = parser.parse_args()
    model = init_model(args.checkpoint)
    print(f'{type(model).__name__}, {model.backbone.name}, '
          f'{torch.get_num_threads()} threads')
    if isinstance(model, PatchCore):
        bank = model.memory_bank
        bank.backend = args.backend or bank.backend
        print(f'{len(bank)} rows of {bank.rows.shape[1]} dimensions, '
              f'{bank.backend}')
    elif args.backend is not None:
        raise InputError('--backend is for PatchCore, this is '
                         f'{type(model).__name__}; leave it out.')
    measure(model, args)


@torch.inference_mode()
def measure(model: BaseDetector, args: argparse.Namespace) -> None:
    """Print a row for each batch size."""
    device = next(model.parameters()).device
    for number, batch in enumerate(args.batch_sizes):
        inputs = torch.randn(batch, 3, args.size, args.size, device=device)
        parts: Parts = dict(backbone=lambda x=inputs: model.backbone(x))
        if isinstance(model, PatchCore):
            parts.update(patchcore_parts(model, inputs))
        parts['all'] = lambda x=inputs: model(x)
        if number == 0:
            print(f'{"batch":>5}' + ''.join(f'{name:>10}' for name in parts) +
                  '   all / backbone')
        seconds = median_seconds(list(parts.values()), args.repeats)
        print(f'{batch:>5}' + ''.join(f'{1000 * part / batch:10.2f}'
                                      for part in seconds) +
              f'   {seconds[-1] / seconds[0]:.2f}')


if __name__ == '__main__':
    main()
