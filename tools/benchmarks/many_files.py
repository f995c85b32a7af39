"""Measure what data sets of very many image files take.

Folders of empty files are made, as a scan opens none of them, and removed at
the end. Each of the following is done in a process of its own, of which the
seconds of processor time, the peak of its memory and the memory that is kept
are shown:

- the scan of the training images, and of a few test images, which are compared
  with them; and of natural images;
- the scan of the test images with a mask for each, compared with a few
  training images, in the layout of MVTec AD and as own folders;
- the metrics of the test images, of which scores are drawn.
"""
import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from peers_worker import Memory

from mmad.datasets import AnomalyDataset, FolderDataset, NaturalImages
from mmad.evaluation import ImageMetric
from mmad.utils.command_line import one_sentence_errors

FEW = 20


def make_files(folder: Path,
               number: int,
               ending: str = '.png',
               text: str = '') -> None:
    folder.mkdir(parents=True)
    for index in range(number):
        # Hardly any are of the same size, except for many empty ones, so that
        # none has to be read.
        with open(folder / f'{index:08}{ending}', 'w') as file:
            file.write(text * (index + 1))


def load(dataset: type, root: Path, *args: str, **kwargs: str) -> int:
    data = dataset(str(root), *args, lazy_init=False, **kwargs)
    return data.data_bytes.nbytes + data.data_address.nbytes


def compute_metrics(number: int, before: Memory) -> int:
    """Compute the metrics of images of the size 1024x1024, half normal."""
    metric, generator = ImageMetric(), torch.Generator().manual_seed(0)
    mask = torch.ones(1, 1, dtype=torch.bool)
    for index in range(number):
        metric.process(None, [
            dict(
                img_path=f'data/test/cut/{index:08}.png',
                mask_path=f'data/ground_truth/cut/{index:08}_mask.png',
                pred_score=torch.rand(1, generator=generator),
                gt_label=torch.tensor(index % 2),
                gt_mask=mask,
                defect_type='cut',
                mask_regions=[1, 0, 0, 0],
                ori_shape=(1024, 1024),
                img_shape=(1, 1),
                resized_shape=(256, 256))
        ])
    kept = before.peak() or 0
    metric.evaluate(number)
    return kept


def measure(name: str, number: int, task: Callable[[Memory], int]) -> None:

    def run() -> None:
        memory, start = Memory('cpu'), time.process_time()
        kept = task(memory)
        seconds = time.process_time() - start
        print(
            f'{number:9}  {name:24}{seconds:7.1f}'
            f'{(memory.peak() or 0) / 1e6:9.1f}{kept / 1e6:9.1f}',
            flush=True)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def measure_training(root: Path, number: int) -> None:
    make_files(root / 'train/good', number)
    make_files(root / 'test/good', FEW, text='test')
    measure('training images', number,
            lambda _: load(AnomalyDataset, root, 'train'))
    measure(f'{FEW} test images, compared', number,
            lambda _: load(AnomalyDataset, root, 'test'))
    # Away from what looks like anomaly data.
    (root / 'train/good').rename(root / 'natural')
    measure('natural images', number,
            lambda _: load(NaturalImages, root / 'natural'))


def measure_test(root: Path, number: int) -> None:
    make_files(root / 'train/good', FEW, text='train')
    make_files(root / 'test/cut', number)
    make_files(root / 'ground_truth/cut', number, '_mask.png')
    measure('test images with masks', number,
            lambda _: load(AnomalyDataset, root, 'test'))
    folders = dict(
        normal_dir='train/good', abnormal_dir='test', mask_dir='ground_truth')
    measure('the same, as own folders', number,
            lambda _: load(FolderDataset, root, 'test', **folders))
    measure('metrics of test images', number,
            lambda memory: compute_metrics(number, memory))


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--images', type=int, nargs='+', default=[1_000, 1_000_000])
    parser.add_argument(
        '--folder',
        help='where the files are made; a temporary folder by '
        'default')
    args = parser.parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    print(f'{"images":>9}  {"":24}{"s":>7}{"peak MB":>9}{"kept MB":>9}')
    for number in args.images:
        for task in (measure_training, measure_test):
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                task(Path(folder), number)


if __name__ == '__main__':
    main()
