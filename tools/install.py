"""Install mmad from this checkout, with what is missing and nothing twice.

mmcv and faiss each come as two packages under one import name. Where one is
there already, it stays; else the light one is installed with mmad.
"""
import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'extras', nargs='*', help='further extras: tests, docs, dev')
    parser.add_argument(
        '-e', '--editable', action='store_true', help='editable install')
    args = parser.parse_args()
    extras = args.extras + [
        name for name in ('mmcv', 'faiss')
        if importlib.util.find_spec(name) is None
    ]
    target = f'{ROOT}[{",".join(extras)}]' if extras else str(ROOT)
    command = [sys.executable, '-m', 'pip', 'install']
    sys.exit(
        subprocess.call(
            [*command, '-e', target] if args.editable else [*command, target]))


if __name__ == '__main__':
    main()
