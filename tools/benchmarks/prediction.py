"""Milliseconds per image of a fitted PatchCore, split into its parts."""
import argparse
import statistics
import time
from collections.abc import Callable

import torch

from mmad.apis import init_model
from mmad.utils.command_line import one_sentence_errors


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


@one_sentence_errors
@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint')
    parser.add_argument(
        '--batch-sizes', type=int, nargs='+', default=[1, 32])
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument(
        '--backend', choices=['torch', 'faiss'], help='of the search')
    args = parser.parse_args()
    model = init_model(args.checkpoint)
    bank = model.memory_bank
    if args.backend is not None:
        bank.backend = args.backend
    print(f'{len(bank)} rows of {bank.rows.shape[1]} dimensions, '
          f'{bank.backend}, {torch.get_num_threads()} threads')
    print(f'{"batch":>5} {"backbone":>9} {"features":>9} {"search":>9} '
          f'{"map":>9} {"score":>9} {"all":>9}   (search + map) / backbone')
    for batch in args.batch_sizes:
        inputs = torch.randn(
            batch, 3, args.size, args.size, device=bank.rows.device)
        maps = model.backbone(inputs)
        features = model.patch_features(maps)
        queries = features.flatten(2).transpose(1, 2)
        distances, nearest = bank.search(queries.flatten(0, 1))
        grid = distances.view(batch, 1, *features.shape[-2:])
        flat = distances.view(batch, -1), nearest.view(batch, -1)
        size = inputs.shape[-2:]
        parts = [
            milliseconds(call, args.repeats) / batch for call in (
                lambda x=inputs: model.backbone(x),
                lambda x=maps: model.patch_features(x),
                lambda x=queries: bank.search(x.flatten(0, 1)),
                lambda x=grid, s=size: model.anomaly_map(x, s),
                lambda x=queries, f=flat: model._image_score(x, *f),
                lambda x=inputs: model(x),
            )
        ]
        backbone, _, search, smooth, _, _ = parts
        print(f'{batch:>5} ' + ' '.join(f'{part:9.2f}' for part in parts) +
              f'   {(search + smooth) / backbone:.2f}')


if __name__ == '__main__':
    main()
