"""Draw images before and after the alignment of FYD.

Each column shows an image, before (upper row) and after (lower row); the first
column shows the means of all images. Where the true poses of the parts are
known, the errors of the poses that the alignment has found are printed.
"""
import argparse
from pathlib import Path

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

import cv2
import numpy as np
import torch
from rich.progress import track

from mmad.apis import init_model
from mmad.datasets.pose_table import find_pose, read_poses
from mmad.errors import InputError
from mmad.evaluation.functional import pose_errors
from mmad.models import FYD
from mmad.models.layers import describe_affine, warp
from mmad.registry import DATASETS
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import require_place
from mmad.utils import write_atomically
from mmad.utils.command_line import (
    add_common_arguments,
    check_at_least,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_check import check_config
from mmad.utils.path_checks import check_file

_COLUMNS = 8
_SIDE = 160  # of the shown images, at most
_GAP = 3  # between the two of a pair
_MARGIN = 12  # between pairs
_LABELS = 64  # width of the labels
_TITLE = 24  # height of the labels


def as_column(pair: list[torch.Tensor]) -> np.ndarray:
    """Put two images ``(3, H, W)`` below each other, reduced in size."""
    images = []
    for image in pair:
        pixels = image.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        scale = min(1, _SIDE / max(pixels.shape[:2]))
        pixels = cv2.resize(
            pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        images += [pixels, np.full_like(pixels[:_GAP], 255)]
    return np.pad(
        np.concatenate(images[:-1]), ((_TITLE, 0), (0, _MARGIN), (0, 0)),
        constant_values=255)


def arrange(means: list[torch.Tensor],
            pairs: list[list[torch.Tensor]]) -> np.ndarray:
    """Arrange the means and pairs of images in columns, 8 next to each other.

    Args:
        means (list[Tensor]): The means before and after, ``(3, H, W)`` each.
        pairs (list[list[Tensor]]): Images before and after.

    Returns:
        np.ndarray: The labelled picture ``(H', W', 3)``, uint8.
    """
    columns = [as_column(pair) for pair in (means, *pairs)]
    height, width = columns[0].shape[:2]
    blocks = []
    for start in range(0, len(columns), _COLUMNS):
        label = np.full((height, _LABELS, 3), 255, np.uint8)
        for row, text in enumerate(('before', 'after')):
            middle = _TITLE + (2 * row + 1) * (height - _TITLE) // 4
            write(label, text, (6, middle + 5))
        block = np.concatenate([label, *columns[start:start + _COLUMNS]], 1)
        full = _LABELS + width * min(_COLUMNS, len(columns))
        blocks.append(
            np.pad(
                block, ((0, 0), (0, full - block.shape[1]), (0, 0)),
                constant_values=255))
    write(blocks[0], 'mean', (_LABELS, _TITLE - 8))
    return np.pad(
        np.concatenate(blocks), ((0, _MARGIN), (0, 0), (0, 0)),
        constant_values=255)


def write(picture: np.ndarray, text: str, at: tuple[int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1,
                cv2.LINE_AA)


def find_table(img_path: str) -> Path | None:
    """Find ``poses.csv`` in one of the three folders around an image."""
    tables = [folder / 'poses.csv' for folder in Path(img_path).parents[:3]]
    return next(filter(Path.is_file, tables), None)


def pose_in_input(pose: tuple[float, float, float], sample: AnomalyDataSample,
                  size: tuple[int, int]) -> tuple[float, float, float]:
    """Convert the pose in an original image to that in the model's input."""
    require_place(sample.metainfo, 'remove the table of poses')
    angle, *center = pose
    resized = sample.get('resized_shape', size)
    offset = sample.get('crop_offset', (0, 0))
    y, x = ((share * full - start) / side for share, full, start, side in zip(
        reversed(center), resized, offset, size))
    return angle, x, y


def print_pose_errors(matrices: torch.Tensor, poses: np.ndarray,
                      size: tuple[int, int]) -> None:
    angle, position = pose_errors(matrices.numpy(), poses[:, 0], poses[:, 1:],
                                  size)
    for name, errors, unit in (('angle', angle, 'degrees'),
                               ('position', 100 * position, '% of the side')):
        print(f'error of the {name}: median {np.median(errors):.2f}, 95th '
              f'percentile {np.percentile(errors, 95):.2f} {unit}')


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, or the name of one of mmad')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_common_arguments(parser)
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--number',
        type=int,
        default=15,
        help='number of images to show besides the means (default: 15)')
    parser.add_argument(
        '--poses',
        help='CSV file with the true pose of each image (columns file, angle '
        'in degrees clockwise, x and y of the center as a share of width and '
        'height; default: poses.csv beside the data, if there is one)')
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
    table = args.poses or find_table(dataset.get_data_info(0)['img_path'])
    listed = read_poses(table) if table else None
    means, pairs, matrices, poses = [0, 0], [], [], []
    for index in track(range(len(dataset)), 'Aligning'):
        packed = dataset[index]
        image, sample = packed['inputs'], packed['data_samples']
        data = detector.data_preprocessor(dict(inputs=[image]))
        with torch.no_grad():
            _, matrix = detector.align(data['inputs'])
            pair = [image.float(), warp(image.float()[None], matrix)[0]]
        means = [mean + one / len(dataset) for mean, one in zip(means, pair)]
        matrices.append(matrix)
        if listed is not None:
            pose = find_pose(listed, sample.img_path)
            poses.append(pose_in_input(pose, sample, image.shape[-2:]))
        if index in shown:
            pairs.append(pair)
    write_atomically(args.out,
                     cv2.imencode('.png', arrange(means, pairs))[1].tobytes())
    found = torch.cat(matrices)
    for name, values in describe_affine(found).items():
        print(f'{name:8} {values.mean():8.4f} +- '
              f'{values.std(correction=0):.4f}')
    if poses:
        print_pose_errors(found, np.array(poses), image.shape[-2:])
    print(f'{len(dataset)} images were aligned; see {args.out}.')


if __name__ == '__main__':
    main()
