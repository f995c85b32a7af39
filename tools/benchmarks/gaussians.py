"""Compare the packed Gaussians of PaDiM with plain calls of torch.linalg.

These steps are compared, with as many matrices as fit into --megabytes:

- invert: the inverse of the Cholesky factor, by blocks or by
  `torch.linalg.cholesky` and `solve_triangular`;
- fit: adding the products of 32 images to packed or to full matrices;
- predict: the distances of --images images with packed or with full factors.

Both versions run in turn. A ratio above 1 means that the plain one is slower.
"""
import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mmad.models.layers.inverse_cholesky import invert_cholesky
from mmad.models.layers.packed_distances import packed_distances
from mmad.models.layers.packed_triangle import (
    add_gram,
    pack,
    packed_masks,
    packed_matmul,
    packed_shape,
)
from mmad.utils.command_line import one_sentence_errors

# As in PositionGaussians.
BLOCK = 1 << 19
FIT_IMAGES = 32


def compare(mmad: Callable[[], object], plain: Callable[[], object],
            repeats: int) -> tuple[float, float, float]:
    """Return the median seconds of both calls and the median ratio."""
    times: list[tuple[float, ...]] = []
    for _ in range(repeats + 1):
        spent = []
        for call in (mmad, plain):
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            spent.append(time.perf_counter() - start)
        times.append(tuple(spent))
    first, second = zip(*times[1:])
    return (statistics.median(first), statistics.median(second),
            statistics.median(b / a for a, b in zip(first, second)))


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def blocks(positions: int, dim: int) -> list[slice]:
    step = max(1, BLOCK // dim**2)
    return [slice(i, i + step) for i in range(0, positions, step)]


def plain_inverse(covariance: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(covariance)
    unit = torch.eye(len(factor[0]), dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(
        factor, unit.expand_as(factor), upper=False)


@one_sentence_errors
@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dims', type=int, nargs='+', default=[100, 550])
    parser.add_argument(
        '--megabytes',
        type=int,
        default=200,
        help='of the full float64 matrices')
    parser.add_argument(
        '--images', type=int, default=16, help='of a batch in prediction')
    parser.add_argument('--repeats', type=int, default=7)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    print(f'{device}, {torch.get_num_threads()} threads, medians of '
          f'{args.repeats}, microseconds per matrix')
    print(f'{"d":>4} {"step":>8} {"mmad":>9} {"plain":>9} {"ratio":>6}')
    for dim in args.dims:
        number = max(1, args.megabytes * 10**6 // (8 * dim**2))
        torch.manual_seed(0)
        samples = torch.randn(
            number, dim, FIT_IMAGES, dtype=torch.float64, device=device)
        full = samples @ samples.mT
        full.diagonal(dim1=1, dim2=2).add_(0.1)
        inverse = plain_inverse(full).float()
        packed_inverse = pack(inverse)
        products = full.new_zeros(number, *packed_shape(dim))
        full_products = torch.zeros_like(full)
        queries = torch.randn(number, dim, args.images, device=device)
        mean = torch.zeros(number, dim, device=device)
        parts = blocks(number, dim)

        def fit(products=products, samples=samples, parts=parts, dim=dim):
            masks = packed_masks(dim, products)
            for part in parts:
                add_gram(products[part], samples[part], masks)

        def fit_plain(products=full_products, samples=samples, parts=parts):
            for part in parts:
                products[part].baddbmm_(samples[part], samples[part].mT)

        def predict(factor=packed_inverse,
                    queries=queries,
                    mean=mean,
                    parts=parts,
                    dim=dim):
            if device == 'cpu':
                packed_distances(factor, mean, queries.permute(2, 0, 1))
                return
            masks = packed_masks(dim, factor)
            for part in parts:
                torch.linalg.vector_norm(
                    packed_matmul(factor[part], queries[part], masks), dim=1)

        def predict_plain(factor=inverse, queries=queries, parts=parts):
            for part in parts:
                torch.linalg.vector_norm(factor[part] @ queries[part], dim=1)

        def invert(call, full=full, parts=parts):
            for part in parts:
                call(full[part])

        steps = dict(
            invert=(lambda: invert(invert_cholesky),
                    lambda: invert(plain_inverse)),
            fit=(fit, fit_plain),
            predict=(predict, predict_plain))
        for name, calls in steps.items():
            mmad, plain, ratio = compare(*calls, args.repeats)
            print(f'{dim:>4} {name:>8} {1e6 * mmad / number:9.1f} '
                  f'{1e6 * plain / number:9.1f} {ratio:6.2f}')
        for name, mmad, plain in (('sums', products, full_products),
                                  ('factors', packed_inverse, inverse)):
            print(f'{dim:>4} {name:>8} {mmad[0].nbytes / 1e3:6.1f} kB '
                  f'{plain[0].nbytes / 1e3:6.1f} kB '
                  f'{plain.nbytes / mmad.nbytes:6.2f}')


if __name__ == '__main__':
    main()
