"""Measure the time and memory of a fit, and the time of its backbone.

The images are loaded first. The backbone alone and the complete fit are timed
on all images, and medians are shown. The peak memory is that of the process.
"""
import argparse
import re
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from timing import fit, median_seconds

from mmad.models import FitDetector
from mmad.registry import MODELS
from mmad.utils.command_line import (
    add_common_arguments,
    add_weights_argument,
    load_config,
    one_sentence_errors,
)


def peak_memory() -> float:
    """Return the peak resident memory of this process in GB (on Linux)."""
    # getrusage would include the peak of the parent process.
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s*(\d+)', status)[1]) / 1024**2


@torch.no_grad()
def run_backbone(model: FitDetector, batches: list) -> None:
    for batch in batches:
        model.backbone(model.data_preprocessor(batch)['inputs'])


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    add_common_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    cfg = load_config(args)
    init_default_scope('mmad')
    loader = Runner.build_dataloader(cfg.train_dataloader)
    model = MODELS.build(cfg.model)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    batches = list(loader)
    number = len(loader.dataset)
    before = peak_memory()
    backbone, fitting = median_seconds([
        lambda: run_backbone(model, batches),
        lambda: fit(model, batches, number)
    ], args.repeats)
    print(f'{number} images, {torch.get_num_threads()} threads: '
          f'backbone {backbone:.2f} s, fit {fitting:.2f} s '
          f'({fitting / backbone:.2f} x), peak {peak_memory():.2f} GB '
          f'({before:.2f} GB before)')


if __name__ == '__main__':
    main()
