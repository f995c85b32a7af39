"""Compare mmad with anomalib and with a plain loop, side by side.

Each measurement runs in its own process, and each peer in its own
environment, which is made from the package index if absent. All get the same
images, as tensors, and the same weights. The peers take turns, medians are
shown, and the section of the data set in docs/benchmarks.md is replaced.

Without --data-root, the data are the generated plates; without --weights, the
backbone has random weights, with which speed can be compared.
"""
import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path

from peers_bench import METHODS, Bench
from peers_environments import PACKAGES, default_cache
from peers_machine import describe_machine
from peers_table import replace_section, section

from mmad.errors import InputError
from mmad.utils import write_atomically
from mmad.utils.command_line import check_at_least, one_sentence_errors

PAGE = Path(__file__).resolve().parents[2] / 'docs/benchmarks.md'
QUICK = dict(
    train_images=60, test_images=40, repeats=1, peer_picks=50, singles=10)
NORMAL = dict(
    train_images=None, test_images=None, repeats=3, peer_picks=200, singles=20)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--data-root',
        type=Path,
        help='folder in the layout of MVTec AD (default: generated plates)')
    parser.add_argument('--category', help='folder in --data-root')
    parser.add_argument(
        '--weights', type=Path, help='state dict of a ResNet-18')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--device', choices=['cpu', 'cuda'])
    parser.add_argument('--repeats', type=int)
    parser.add_argument(
        '--peer-picks',
        type=int,
        help='picks of the coreset that anomalib and the loop run; their time '
        'is scaled up (default: 200)')
    parser.add_argument(
        '--full',
        action='store_true',
        help='let anomalib and the loop make all picks')
    parser.add_argument(
        '--quick',
        action='store_true',
        help='fewer images, repeats and picks: below 10 minutes on 2 cores, '
        'beside the installation')
    parser.add_argument(
        '--cache',
        type=Path,
        default=default_cache(),
        help='folder of the environments (default: %(default)s)')
    for peer in PACKAGES:
        parser.add_argument(
            f'--{peer}',
            metavar='PYTHON',
            help=f'interpreter of an environment with {peer}')
    parser.add_argument(
        '--no-adeval', action='store_true', help='leave adeval out')
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/peers'))
    parser.add_argument('--out', type=Path, default=PAGE)
    args = parser.parse_args(arguments)
    if args.category and args.data_root is None:
        raise InputError('--category needs --data-root.')
    if args.full and args.peer_picks is not None:
        raise InputError('--full makes all picks; leave --peer-picks out.')
    if args.size % 8:
        raise InputError(f'--size must be a multiple of 8, got {args.size}.')
    for name, value in (QUICK if args.quick else NORMAL).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    for option in ('repeats', 'peer_picks', 'threads', 'size'):
        check_at_least(f'--{option.replace("_", "-")}', getattr(args, option),
                       1)
    return args


@one_sentence_errors
def main() -> None:
    args = parse()
    folder = args.work_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(args, folder)
    name = bench.prepare()
    versions, bandwidth = bench.check()
    figures, accuracy = bench.measure()
    device = bench.common['device']
    sizes = [METHODS[method]['ratio'] for method in METHODS]
    results = dict(
        name=name if device == 'cpu' else f'{name} on a GPU',
        figures=figures,
        accuracy=accuracy,
        metrics=bench.metrics(),
        bandwidth=bandwidth,
        patches=bench.images * (args.size // 8)**2,
        positions=(args.size // 4)**2,
        ratios=dict(zip(METHODS, sizes, strict=True)),
        picks=None if args.full else args.peer_picks,
        conditions=dict(
            machine=describe_machine(device),
            threads=args.threads,
            images=[bench.images, bench.tests],
            size=args.size,
            weights=args.weights.name if args.weights else None,
            repeats=args.repeats,
            quick=args.quick,
            versions=dict(versions, mmad=version('mmad')),
            note=bench.note))
    write_atomically(folder / 'results.json',
                     json.dumps(results, indent=2).encode())
    text = section(results)
    page = args.out.read_text() if args.out.exists() else ''
    write_atomically(args.out,
                     replace_section(page, results['name'], text).encode())
    print(f'{text}\nThis section is in {args.out}.')


if __name__ == '__main__':
    main()
