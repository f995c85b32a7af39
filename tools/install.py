"""Install mmad from this checkout, with the missing dependencies.

MMCV and Faiss each come as two packages with the same import name, of which
only one may be installed. If one of them is installed already, or the extra
`mmcv` or `gpu` asks for the full package, no other is installed. Otherwise,
the light package is installed with mmad.
"""
import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# By import name: the extras of the light and of the full package.
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
