"""Measure what PatchCore loses where a memory budget thins patches out.

As many rows are chosen greedily from all patches, from patches that were
thinned out, and from as many that were drawn at random. Shown are the covering
radius, the largest distance of any training patch from the rows after the
projection; how many times the least possible one it is at most, as a fit
states; and metrics of the test images.
"""
import argparse
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from timing import fit
from torch import Tensor

from mmad.models import PatchCore
from mmad.models.layers import k_center_greedy
from mmad.models.layers.coreset import random_projection
from mmad.models.layers.covering_gaps import covering_bound
from mmad.registry import MODELS
from mmad.utils.command_line import (
    add_common_arguments,
    add_weights_argument,
    load_config,
    one_sentence_errors,
)


def reduce_rows(model: PatchCore, matrix: Tensor, number: int) -> float | None:
    """Keep so many rows, and return the factor that a fit would state."""
    bank = model.memory_bank
    projected = bank.rows @ matrix
    # The one after the last tells how far the rest is.
    chosen = k_center_greedy(projected, number + 1)
    bank.store(bank.rows[chosen[:-1]])
    if bank.covering is None:
        return None
    return covering_bound(projected[chosen], bank.covering[0])[1]


@torch.no_grad()
def covering_radius(model: PatchCore, matrix: Tensor,
                    batches: Sequence[dict]) -> float:
    rows, largest = model.memory_bank.rows @ matrix, 0.0
    for batch in batches:
        features = model.extract(model.data_preprocessor(batch)['inputs'])
        for image in features:
            distances = torch.cdist(image.flatten(1).T @ matrix, rows)
            largest = max(largest, float(distances.amin(1).max()))
    return largest


def evaluate(model: PatchCore, cfg: Config) -> dict:
    loader = Runner.build_dataloader(cfg.test_dataloader)
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        evaluator.process(model.test_step(batch), batch)
    return evaluator.evaluate(len(loader.dataset))


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='of PatchCore')
    add_common_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument(
        '--megabytes',
        type=int,
        nargs='+',
        default=[100, 25, 12],
        help='memory budgets, beside that of the config')
    args = parser.parse_args()
    cfg = load_config(args)
    init_default_scope('mmad')
    MMLogger.get_current_instance().setLevel('WARNING')
    loader = Runner.build_dataloader(cfg.train_dataloader)
    batches, images = list(loader), len(loader.dataset)
    model = MODELS.build(cfg.model).eval()
    bank = model.memory_bank
    ratio, bank.coreset_ratio = bank.coreset_ratio, 1
    ways = [('all', 'greedy', bank.memory_budget)]
    for size in args.megabytes:
        ways += [('thinned', 'greedy', size * 10**6),
                 ('drawn', 'random', size * 10**6)]
    print(f'{"held per image":>16}{"":9}{"radius":>7}{"stated":>7}'
          f'{"AUROC":>7}{"AUPRO":>7}')
    rows = None
    for name, bank.selection, bank.memory_budget in ways:
        fit(model, batches, images)
        held = len(bank)
        rows = rows or int(ratio * held)
        matrix = random_projection(bank.rows.shape[1], bank.projection_dim)
        factor = reduce_rows(model, matrix, rows)
        found = evaluate(model, cfg)
        print(
            f'{held / images:16.0f} {name:8}'
            f'{covering_radius(model, matrix, batches):7.2f}'
            f'{"-" if factor is None else f"{factor:.2f}":>7}'
            f'{found["image_auroc"]:7.3f}{found["aupro"]:7.3f}',
            flush=True)
    print(f'{rows} rows of {images} images')


if __name__ == '__main__':
    main()
