"""Draw the images of a data set after its pipeline, with their masks."""
import argparse
from pathlib import Path

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

import cv2
import numpy as np
from mmengine.registry import init_default_scope
from rich.progress import track

from mmad.datasets.output_folder import check_output_folder
from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import write_atomically
from mmad.utils.command_line import (
    add_common_arguments,
    check_at_least,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_check import check_config
from mmad.utils.path_checks import check_folder
from mmad.utils.safe_path import safe_path
from mmad.visualization.anomaly_visualizer import draw_outline


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, or the name of one of mmad')
    add_common_arguments(parser)
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--number',
        type=int,
        default=20,
        help='maximum number of images to draw (default: 20)')
    parser.add_argument('--out-dir', default='work_dirs/browse')
    args = parser.parse_args()
    check_at_least('--number', args.number, 1)
    check_folder(args.out_dir, '--out-dir')
    cfg = load_config(args)
    loader = cfg.get(f'{args.split}_dataloader')
    if loader is None:
        raise InputError(f'"{args.config}" has no {args.split}_dataloader; '
                         'use another --split.')
    check_config(cfg)
    init_default_scope('mmad')
    dataset = DATASETS.build(loader.dataset)
    picks = np.linspace(
        0, len(dataset) - 1, min(args.number, len(dataset)), dtype=int)
    check_output_folder(args.out_dir, [dataset])
    drawn = set()
    for index in track(picks, 'Drawing'):
        item = dataset[int(index)]
        sample = item['data_samples']
        image = np.ascontiguousarray(item['inputs'].permute(1, 2, 0).numpy())
        if 'gt_mask' in sample:
            draw_outline(image, sample.gt_mask.numpy())
        defect_type, stem = (
            sample.get('defect_type', ''),
            Path(sample.img_path).stem,
        )
        if (defect_type, stem) in drawn:
            stem += f'_{index}'
        drawn.add((defect_type, stem))
        out = safe_path(args.out_dir, defect_type, f'{stem}.png')
        write_atomically(out, cv2.imencode('.png', image)[1].tobytes())
    print(f'{len(picks)} of {len(dataset)} images are in {args.out_dir}.')


if __name__ == '__main__':
    main()
