"""Compare all methods on one data set: accuracy, time, memory and size.

Without --data-root, the data are the generated plates, and the backbone is
the one that comes with mmad; nothing is downloaded.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sklearn.datasets import __file__ as sklearn_datasets

from mmad.datasets.demo import generate_demo
from mmad.utils import write_atomically
from mmad.utils.checkpoint import latest_checkpoint

TOOLS = Path(__file__).resolve().parents[1]
# For the generated plates, and for images of one's own; the same without and
# with a teacher.
CONFIGS = dict(
    patchcore=('patchcore_demo', 'patchcore_resnet18_10pct_folder'),
    padim=('padim_demo', 'padim_resnet18_folder'),
    spade=('spade_demo', 'spade_resnet18_folder'),
    fyd=('fyd_demo', 'fyd_resnet18_folder'),
    mkd=('mkd_demo', 'mkd_resnet18_folder'),
    uninformed_students=('uninformed_students_p33_demo',
                         'uninformed_students_p33_small_folder'))
TEACHERS = 'teacher_p33_demo', 'teacher_p33_small'
COLUMNS = ('method', 'config', 'image AUROC', 'pixel AUROC', 'AUPRO', 'recall',
           'false alarms', 'wanted', 'fit (s)', 'image (ms)', 'memory (MiB)',
           'checkpoint (MiB)')
# Few images cannot tell the rate of 1 % of the configs.
FALSE_ALARM_RATE = 0.05
# Few images, so that a table takes no longer than the fits.
TIMED = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--data-root',
        type=Path,
        help='folder with train/good, test/good, test/DEFECT_TYPE and '
        'ground_truth/DEFECT_TYPE')
    parser.add_argument('--weights', help='local file of the backbone')
    parser.add_argument(
        '--photographs',
        default=str(Path(sklearn_datasets).parent / 'images'),
        help='folder to train a teacher of Uninformed Students on (default: '
        'the two photographs that come with scikit-learn)')
    parser.add_argument(
        '--methods', nargs='+', choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/methods'))
    parser.add_argument('--time', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.time:
        time_prediction(*args.time)
        return
    rows = [measure(method, args) for method in args.methods]
    table = [COLUMNS, ['---'] * len(COLUMNS), *rows]
    text = ''.join(f'| {" | ".join(row)} |\n' for row in table)
    write_atomically(args.work_dir / 'methods.md', text.encode())
    print(f'\n{text}\nThis table is in {args.work_dir}/methods.md.')


def measure(method: str, args: argparse.Namespace) -> list[str]:
    """Fit and test one method, and return its row of the table."""
    own = args.data_root is not None
    config = CONFIGS[method][own]
    folder = args.work_dir / config
    if own:
        root = args.data_root
        data = [
            '--normal-dir', root / 'train/good', '--normal-test-dir',
            root / 'test/good', '--abnormal-dir', root / 'test', '--mask-dir',
            root / 'ground_truth'
        ]
    else:
        generate_demo(args.work_dir / 'data')
        root = args.work_dir / 'data' / 'plate'
        data = ['--data-root', args.work_dir / 'data']
    options = [
        '--cfg-options',
        f'default_hooks.calibration.false_alarm_rate={FALSE_ALARM_RATE}'
    ]
    for split in ('train', 'val', 'test'):
        # All in one process, whose memory is measured.
        options.append(f'{split}_dataloader.num_workers=0')
    if method == 'uninformed_students':
        teacher = find_teacher(TEACHERS[own], args)
        options.append(f'model.scales.0.teacher={teacher}')
    elif args.weights:
        data += ['--weights', args.weights]
    common = [*data, '--work-dir', folder, *options]
    seconds, memory = run(folder, 'train.py', config, '--no-validate', *common)
    checkpoint = latest_checkpoint(folder)
    run(folder, 'test.py', config, checkpoint, *common)
    images = sorted(root.glob('test/*/*'))
    step = max(1, len(images) // TIMED)
    run(folder, Path(__file__), '--time', checkpoint, folder / 'seconds.json',
        *images[::step][:TIMED])
    latency = json.loads((folder / 'seconds.json').read_text())
    metrics = json.loads((folder / 'metrics.json').read_text())
    row = [
        method, config,
        *(number(metrics.get(name))
          for name in ('image_auroc', 'pixel_auroc', 'aupro', 'image_recall',
                       'image_false_alarm_rate')),
        number(metrics['conditions'].get('wanted_false_alarm_rate')),
        f'{seconds:.0f}', f'{1000 * latency:.0f}', f'{memory:.0f}',
        f'{Path(checkpoint).stat().st_size / 2**20:.1f}'
    ]
    print(' | '.join(row), flush=True)
    return row


def find_teacher(config: str, args: argparse.Namespace) -> str:
    """Return the checkpoint of a teacher, which is trained if there is none.

    A teacher is trained once for all parts, so this is not counted.
    """
    folder = args.work_dir / config
    if latest_checkpoint(folder) is None:
        weights = (['--weights', args.weights]
                   if args.weights and args.data_root else [])
        seconds, _ = run(folder, 'train.py', config, '--data-root',
                         args.photographs, '--work-dir', folder, *weights)
        print(f'{config}: trained in {seconds:.0f} s')
    return latest_checkpoint(folder)


def run(folder: Path, script: str | Path, *args) -> tuple[float, float]:
    """Run a tool in a process of its own, on one thread.

    Returns:
        tuple[float, float]: Its processor time in seconds, which does not
        depend on what else runs, or its duration if there is a GPU; and the
        largest memory in MiB.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, TOOLS / script, *args]
    begin = time.monotonic()
    with (folder / f'{Path(script).stem}.log').open('w') as log:
        process = subprocess.Popen([str(part) for part in command],
                                   env=dict(os.environ, OMP_NUM_THREADS='1'),
                                   stdout=log,
                                   stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f'error: {script} failed; see {log.name}.')
    seconds = (
        time.monotonic() -
        begin if torch.cuda.is_available() else used.ru_utime + used.ru_stime)
    # In bytes on macOS, in KiB elsewhere.
    return seconds, used.ru_maxrss / 2**(20
                                         if sys.platform == 'darwin' else 10)


def time_prediction(checkpoint: str, out: str, *images: str) -> None:
    """Write the median time of one image, from its file to its map."""
    import torch

    from mmad.apis import AnomalyInferencer

    inferencer = AnomalyInferencer(checkpoint)
    clock = (
        time.perf_counter if torch.cuda.is_available() else time.process_time)
    inferencer(images[0])
    seconds = []
    for image in images:
        begin = clock()
        inferencer(image)
        seconds.append(clock() - begin)
    Path(out).write_text(json.dumps(statistics.median(seconds)))


def number(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, int | float) else '-'


if __name__ == '__main__':
    main()
