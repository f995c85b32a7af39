"""Measure the time per image for growing numbers of training images.

SPADE compares an image with all training images, the size of a fitted PaDiM
does not depend on their number, and the memory bank of PatchCore is a small
share of their patches. The models are those of the configs with random
weights. The images are noise, since the time hardly depends on their content.
All models run in turn, with one image at a time.
"""
import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from timing import fit, median_seconds

from mmad.models import FitDetector
from mmad.registry import MODELS
from mmad.structures import AnomalyDataSample
from mmad.utils.command_line import one_sentence_errors

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
METHODS = {
    'SPADE, topk':
    ('spade/spade_resnet18_layer3_mvtec.py', dict(gallery='topk')),
    'SPADE, all':
    ('spade/spade_resnet18_layer3_mvtec.py', dict(gallery='all')),
    'PaDiM': ('padim/padim_resnet18_mvtec.py', {}),
    'PatchCore, 1 %': ('patchcore/patchcore_resnet18_1pct_mvtec.py', {}),
}


def noise(images: range, size: int) -> dict:
    """Make a batch of random images, like that of a data loader."""
    generator = torch.Generator().manual_seed(images.start)
    return dict(
        inputs=list(
            torch.randint(
                256, (len(images), 3, size, size),
                dtype=torch.uint8,
                generator=generator)),
        data_samples=[
            AnomalyDataSample(metainfo=dict(sample_idx=i)) for i in images
        ])


def fitted(method: str, number: int, size: int) -> FitDetector:
    config, settings = METHODS[method]
    cfg = Config.fromfile(CONFIGS / config).model
    cfg.backbone.weights = None
    cfg.update(settings)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    batches = [
        noise(range(start, min(start + 25, number)), size)
        for start in range(0, number, 25)
    ]
    fit(model, batches, number)
    return model


def table(rows: dict[str, list[float]], numbers: list[int]) -> str:
    """Format a Markdown table, with ratios to the first column."""
    lines = [
        '| training images | ' + ' | '.join(map(str, numbers)) + ' |',
        '|---|' + '---|' * len(numbers)
    ]
    lines += [
        f'| {name} | ' +
        ' | '.join(f'{1000 * value:.0f} ({value / values[0]:.2f})'
                   for value in values) + ' |'
        for name, values in rows.items()
    ]
    return '\n'.join(lines)


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--numbers',
        type=int,
        nargs='+',
        default=[25, 50, 100, 200],
        help='numbers of training images')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repeats', type=int, default=7)
    args = parser.parse_args()
    init_default_scope('mmad')
    models = {
        method: [fitted(method, n, args.size) for n in args.numbers]
        for method in METHODS
    }
    flat = [model for row in models.values() for model in row]
    image = flat[0].data_preprocessor(noise(range(1), args.size))['inputs']
    with torch.inference_mode():
        backbone, *seconds = median_seconds(
            [lambda: flat[0].backbone(image)] +
            [lambda model=model: model(image) for model in flat], args.repeats)
    width = len(args.numbers)
    print(f'{torch.get_num_threads()} threads, medians of {args.repeats}, '
          f'backbone alone {1000 * backbone:.0f} ms')
    print(
        table(
            {
                method: seconds[i * width:(i + 1) * width]
                for i, method in enumerate(models)
            }, args.numbers))


if __name__ == '__main__':
    main()
