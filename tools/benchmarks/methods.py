"""Compare all methods on one data set: accuracy, time, memory and size.

Without --data-root, the data are the generated plates, and the backbone is
the one that comes with mmad; nothing is downloaded. With --data, they are a
public data set, and the configs those of the model zoo with ResNet-18.
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
from mmad.utils.config_file import read_config

TOOLS = Path(__file__).resolve().parents[1]
# For the generated plates, for images of one's own, and for public data sets.
CONFIGS = dict(
    patchcore=('patchcore_demo', 'patchcore_resnet18_10pct_folder',
               'patchcore_resnet18_1pct_mvtec'),
    padim=('padim_demo', 'padim_resnet18_folder', 'padim_resnet18_mvtec'),
    spade=('spade_demo', 'spade_resnet18_folder',
           'spade_resnet18_layer3_mvtec'),
    fyd=('fyd_demo', 'fyd_resnet18_folder', 'fyd_resnet18_10e_mvtec'),
    mkd=('mkd_demo', 'mkd_resnet18_folder', 'mkd_resnet18_mvtec'),
    uninformed_students=('uninformed_students_p33_demo',
                         'uninformed_students_p33_small_folder',
                         'uninformed_students_p33_small_mvtec'))
PLATES, OWN, PUBLIC = range(3)
TEACHERS = 'teacher_p33_demo', 'teacher_p33_small', 'teacher_p33_small'
COLUMNS = ('method', 'config', 'image AUROC', 'pixel AUROC', 'AUPRO', 'recall',
           'false alarms', 'wanted', 'fit (s)', 'image (ms)', 'memory (MiB)',
           'checkpoint (MiB)')
# Images that the epochs of the configs for public data sets are meant for.
MEANT_FOR = 209
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
    parser.add_argument(
        '--data',
        help='public data set in --data-root, such as magnetic_tile, for the '
        'configs of the model zoo')
    parser.add_argument('--category', help='category of the public data set')
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
    if (args.data or args.category) and args.data_root is None:
        parser.error('--data and --category need --data-root.')
    for method in args.methods:
        measure(method, args)
    # Rows of earlier runs are kept.
    kind = kind_of_data(args)
    files = [
        args.work_dir / configs[kind] / 'row.json'
        for configs in CONFIGS.values()
    ]
    rows = [json.loads(file.read_text()) for file in files if file.is_file()]
    columns = [
        name for name in COLUMNS if any(row[name] != '-' for row in rows)
    ]
    table = [
        columns, ['---'] * len(columns),
        *([row[name] for name in columns] for row in rows)
    ]
    text = ''.join(f'| {" | ".join(row)} |\n' for row in table)
    write_atomically(args.work_dir / 'methods.md', text.encode())
    print(f'\n{text}\nThis table is in {args.work_dir}/methods.md.')


def kind_of_data(args: argparse.Namespace) -> int:
    """Return which of the configs of a method are used."""
    if args.data_root is None:
        return PLATES
    return OWN if args.data is None else PUBLIC


def measure(method: str, args: argparse.Namespace) -> None:
    """Fit and test one method, and write its row of the table."""
    kind = kind_of_data(args)
    config = CONFIGS[method][kind]
    folder = args.work_dir / config
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'row.json').unlink(missing_ok=True)
    root, data = find_data(args)
    # Few images cannot tell the rate of 1 % of the configs. On public data
    # sets there are no thresholds, as in the papers.
    options = [
        'default_hooks.calibration.method=off' if kind == PUBLIC else
        f'default_hooks.calibration.false_alarm_rate={FALSE_ALARM_RATE}'
    ]
    for split in ('train', 'val', 'test'):
        # All in one process, whose memory is measured.
        options.append(f'{split}_dataloader.num_workers=0')
    if kind == PUBLIC:
        options += cut_epochs(config, len(list(root.glob('train/*/*'))))
    if method == 'uninformed_students':
        teacher = find_teacher(TEACHERS[kind], args)
        options.append(f'model.scales.0.teacher={teacher}')
    elif args.weights:
        data += ['--weights', args.weights]
    common = [*data, '--work-dir', folder, '--cfg-options', *options]
    seconds, memory = run(folder, 'train.py', config, '--no-validate', *common)
    checkpoint = latest_checkpoint(folder)
    run(folder, 'test.py', config, checkpoint, *common)
    images = sorted(root.glob('test/*/*'))
    step = max(1, len(images) // TIMED)
    run(folder, Path(__file__), '--time', checkpoint, folder / 'seconds.json',
        *images[::step][:TIMED])
    latency = json.loads((folder / 'seconds.json').read_text())
    metrics = json.loads((folder / 'metrics.json').read_text())
    row = dict(
        zip(COLUMNS, [
            method, f'`{config}`',
            *(number(metrics.get(name))
              for name in ('image_auroc', 'pixel_auroc', 'aupro',
                           'image_recall', 'image_false_alarm_rate')),
            number(metrics['conditions'].get('wanted_false_alarm_rate')),
            f'{seconds:.0f}', f'{1000 * latency:.0f}', f'{memory:.0f}',
            f'{Path(checkpoint).stat().st_size / 2**20:.1f}'
        ],
            strict=True))
    write_atomically(folder / 'row.json', json.dumps(row, indent=2).encode())
    print(' | '.join(row.values()), flush=True)


def find_data(args: argparse.Namespace) -> tuple[Path, list]:
    """Return the folder with train and test, and the options that name it."""
    kind = kind_of_data(args)
    if kind == PLATES:
        generate_demo(args.work_dir / 'data')
        return args.work_dir / 'data/plate', [
            '--data-root', args.work_dir / 'data'
        ]
    root = args.data_root
    if kind == PUBLIC:
        category = ['--category', args.category] if args.category else []
        return root / (args.category or ''), [
            '--data', args.data, '--data-root', root, *category
        ]
    return root, [
        '--normal-dir', root / 'train/good', '--normal-test-dir',
        root / 'test/good', '--abnormal-dir', root / 'test', '--mask-dir',
        root / 'ground_truth'
    ]


def cut_epochs(config: str, images: int) -> list[str]:
    """Return options for as many steps as without the additional images."""
    cfg = read_config(config)
    epochs = cfg.train_cfg.max_epochs
    cut = max(1, round(epochs * MEANT_FOR / images))
    if cut >= epochs or not cfg.optim_wrapper:
        return []
    options = [f'train_cfg.max_epochs={cut}']
    if cfg.get('param_scheduler'):
        options.append(f'param_scheduler.T_max={cut}')
    print(f'{config}: {cut} of {epochs} epochs, as there are {images} images')
    return options


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
