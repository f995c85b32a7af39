"""Draw what the model will see: each image after its pipeline, with mask."""
import argparse
import os
from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import init_default_scope
from rich.progress import track

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils.command_line import (
    add_common_arguments,
    load_config,
    one_sentence_errors,
)
from mmad.visualization.anomaly_visualizer import draw_outline


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--number', type=int, default=20,
        help='most images to draw (default: 20)')
    parser.add_argument('--out-dir', default='work_dirs/browse')
    args = parser.parse_args()
    if args.number < 1:
        raise InputError(f'--number must be at least 1, got {args.number}.')
    cfg = load_config(args)
    loader = cfg.get(f'{args.split}_dataloader')
    if loader is None:
        raise InputError(f'"{args.config}" has no {args.split}_dataloader; '
                         'choose another --split.')
    init_default_scope('mmad')
    dataset = DATASETS.build(loader.dataset)
    _make_folder(args.out_dir)
    picks = np.linspace(
        0, len(dataset) - 1, min(args.number, len(dataset)), dtype=int)
    for index in track(picks, 'Drawing'):
        item = dataset[int(index)]
        sample = item['data_samples']
        image = np.ascontiguousarray(item['inputs'].permute(1, 2, 0).numpy())
        if 'gt_mask' in sample:
            draw_outline(image, sample.gt_mask.numpy())
        path = Path(sample.img_path)
        out = Path(args.out_dir, sample.get('kind', ''), f'{path.stem}.png')
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(cv2.imencode('.png', image)[1].tobytes())
    print(f'{len(picks)} of {len(dataset)} images are in {args.out_dir}.')


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f'--out-dir "{folder}" cannot be made '
                         f'({error.strerror}); choose another.') from error
    if not os.access(folder, os.W_OK):
        raise InputError(f'--out-dir "{folder}" cannot be written to; choose '
                         'another.')


if __name__ == '__main__':
    main()
