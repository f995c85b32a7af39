"""Draw images before and after the alignment of FYD.

The first row shows the mean image before and after the alignment. Below it
are single images, before (upper row) and after (lower row).
"""
import argparse

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

import cv2
import numpy as np
import torch
from rich.progress import track

from mmad.apis import init_model
from mmad.errors import InputError
from mmad.models import FYD
from mmad.models.layers import describe_affine, warp
from mmad.registry import DATASETS
from mmad.utils import write_atomically
from mmad.utils.command_line import (
    add_common_arguments,
    check_at_least,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_check import check_config
from mmad.utils.path_checks import check_file

_GAP = 8
_COLUMNS = 8


def as_image(image: torch.Tensor) -> np.ndarray:
    """Convert ``(3, H, W)`` to ``(H, W, 3)`` uint8, and add a border."""
    image = image.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.pad(image, ((0, _GAP), (0, _GAP), (0, 0)))


def arrange(means: list[torch.Tensor],
            pairs: list[list[torch.Tensor]]) -> np.ndarray:
    """Arrange the mean images in a row, and pairs below it, 8 per row."""
    rows = [np.concatenate([as_image(mean) for mean in means], 1)]
    for start in range(0, len(pairs), _COLUMNS):
        rows.append(
            np.concatenate([
                np.concatenate([as_image(image) for image in pair])
                for pair in pairs[start:start + _COLUMNS]
            ], 1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)))
        for row in rows
    ])


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_common_arguments(parser)
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--number',
        type=int,
        default=16,
        help='number of images to show besides the means (default: 16)')
    parser.add_argument('--out', default='work_dirs/alignment.png')
    args = parser.parse_args()
    check_at_least('--number', args.number, 0)
    if not args.out.endswith('.png'):
        raise InputError(f'--out must end in .png, got "{args.out}".')
    check_file(args.out, '--out')
    cfg = load_config(args)
    check_config(cfg, ['test'])
    detector = init_model(args.checkpoint, cfg, 'cpu')
    if not isinstance(detector, FYD):
        raise InputError(f'"{args.checkpoint}" is of a '
                         f'{type(detector).__name__}, which aligns nothing; '
                         'give a checkpoint of FYD.')
    loader = cfg.get(f'{args.split}_dataloader')
    if loader is None:
        raise InputError(f'"{args.config}" has no {args.split}_dataloader; '
                         'use another --split.')
    dataset = DATASETS.build(loader.dataset)
    shown = set(
        np.linspace(
            0, len(dataset) - 1, min(args.number, len(dataset)), dtype=int))
    means, pairs, matrices = [0, 0], [], []
    for index in track(range(len(dataset)), 'Aligning'):
        image = dataset[index]['inputs']
        data = detector.data_preprocessor(dict(inputs=[image]))
        with torch.no_grad():
            _, matrix = detector.align(data['inputs'])
            pair = [image.float(), warp(image.float()[None], matrix)[0]]
        means = [mean + one / len(dataset) for mean, one in zip(means, pair)]
        matrices.append(matrix)
        if index in shown:
            pairs.append(pair)
    write_atomically(args.out,
                     cv2.imencode('.png', arrange(means, pairs))[1].tobytes())
    for name, values in describe_affine(torch.cat(matrices)).items():
        print(f'{name:8} {values.mean():8.4f} +- '
              f'{values.std(correction=0):.4f}')
    print(f'{len(dataset)} images were aligned; see {args.out}.')


if __name__ == '__main__':
    main()
