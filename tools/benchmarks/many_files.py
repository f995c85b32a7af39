"""Measure what a training set of very many image files takes to list.

A folder of empty files is made, as a scan opens none of them, and removed at
the end. Shown are the seconds of processor time of the scan of the training
images, and of that of a few test images, which are compared with them; and the
memory that the names take.
"""
import argparse
import tempfile
import time
from pathlib import Path

from mmengine.logging import MMLogger

from mmad.datasets import AnomalyDataset
from mmad.utils.command_line import one_sentence_errors


def make_files(root: Path, number: int, test: int) -> None:
    train, good = root / 'train/good', root / 'test/good'
    for folder in (train, good):
        folder.mkdir(parents=True)
    for index in range(number):
        (train / f'{index:08}.png').touch()
    for index in range(test):
        # Of another size, so that nothing of it has to be read.
        (good / f'{index:08}.png').write_bytes(b'test')


def scan(root: Path, split: str) -> tuple[AnomalyDataset, float]:
    start = time.process_time()
    dataset = AnomalyDataset(
        data_root=str(root), split=split, pipeline=[], lazy_init=False)
    return dataset, time.process_time() - start


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--images', type=int, nargs='+', default=[1_000, 1_000_000])
    parser.add_argument('--test-images', type=int, default=20)
    parser.add_argument(
        '--folder',
        help='where the files are made; a temporary folder by '
        'default')
    args = parser.parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    print(f'{"images":>9}{"scan s":>8}{"compare s":>11}{"names MB":>10}')
    for number in args.images:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            make_files(Path(folder), number, args.test_images)
            train, listing = scan(Path(folder), 'train')
            _, comparing = scan(Path(folder), 'test')
        size = (train.data_bytes.nbytes + train.data_address.nbytes) / 1e6
        print(
            f'{number:9}{listing:8.1f}{comparing:11.1f}{size:10.1f}',
            flush=True)


if __name__ == '__main__':
    main()
