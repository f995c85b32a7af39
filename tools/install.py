"""Install mmad from this checkout, with what is missing and nothing twice.

mmcv and faiss each come as two packages under one import name. Where one is
there already, or asked for by the extra `mmcv` or `gpu`, it stays alone; else
the light one is installed with mmad.
"""
import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# By import name: the extra of the light package and that of the full one.
LIGHT_AND_FULL = dict(mmcv=('mmcv-lite', 'mmcv'), faiss=('faiss', 'gpu'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'extras',
        nargs='*',
        help='further extras: gpu, timm, mim, tests, docs, dev and others of '
        'pyproject.toml')
    parser.add_argument(
        '-e', '--editable', action='store_true', help='editable install')
    args = parser.parse_args()
    extras = args.extras + [
        light for module, (light, full) in LIGHT_AND_FULL.items()
        if full not in args.extras and importlib.util.find_spec(module) is None
    ]
    target = f'{ROOT}[{",".join(extras)}]' if extras else str(ROOT)
    command = [sys.executable, '-m', 'pip', 'install']
    sys.exit(
        subprocess.call(
            [*command, '-e', target] if args.editable else [*command, target]))


if __name__ == '__main__':
    main()
