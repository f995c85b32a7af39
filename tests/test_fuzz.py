"""Random damage to a config, to data and to a checkpoint ends well, or in one
sentence with status 2; never later than `LIMIT`, and without a trace outside
the work directory."""
import multiprocessing as mp
import os
import random
import shutil
import stat
import sys
import tempfile

import numpy as np
import pytest
from config_texts import ROOT
from mmengine.config import Config
from mutations import (
    JUNK,
    literal,
    mutate_checkpoint,
    mutate_data,
    mutate_tree,
)
from PIL import Image
from run_tools import run_in_folder

LIMIT = 60
BASE = f"""
_base_ = '{ROOT}/configs/patchcore/patchcore_demo.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(64, 64), backend='pillow'),
    dict(type='CenterCrop', crop_size=56),
    dict(type='PackInputs'),
]
dataset = dict(data_root='{{data}}', category=None, pipeline=pipeline)
loader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dataset)
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader
model = dict(coreset_ratio=0.2)
"""


def watch(allowed):
    """Report each write outside of the folders that are allowed."""

    def inside(path):
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str):
            return True
        path = os.path.abspath(path)
        return path.startswith(allowed) or '__pycache__' in path

    def audit(event, args):
        if event == 'open':
            path, mode, flags = args
            writes = (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            paths = [path] if writes or set(mode or '') & set('wax+') else []
        elif event in ('os.mkdir', 'os.remove', 'os.rmdir', 'os.truncate',
                       'os.chmod', 'shutil.rmtree'):
            paths = args[:1]
        elif event in ('os.rename', 'os.link', 'os.symlink'):
            paths = args[:2]
        else:
            return
        for path in paths:
            if not inside(path):
                os.write(2, f'OUTSIDE: {event} {path!r}\n'.encode())

    sys.addaudithook(audit)


def _case(folder, name, args, env):
    tempfile.tempdir = str(folder / 'tmp')
    watch((str(folder), '/dev/null', '/dev/shm'))
    run_in_folder(folder, name, args, env)


def call(folder, name, *args):
    """Run a tool with a time limit; what it did wrong, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'tmp').mkdir(exist_ok=True)
    process = mp.get_context('fork').Process(
        target=_case, args=(folder, name, [str(arg) for arg in args], {}))
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
        return f'not ended after {LIMIT} s'
    err = (folder / 'stderr').read_text(errors='replace')
    if 'OUTSIDE' in err:
        return next(line for line in err.splitlines() if 'OUTSIDE' in line)
    if (folder / 'escaped').exists():
        return 'code of a checkpoint ran'
    if process.exitcode == 0 and 'Traceback (most recent' not in err:
        return None
    sentences = [
        line for line in err.splitlines() if line.startswith('error: ')
    ]
    if process.exitcode == 2 and len(
            sentences) == 1 and 'Traceback (most recent' not in err:
        return None
    lines = [line for line in err.splitlines() if line.strip()]
    return f'status {process.exitcode}: {" | ".join(lines[-3:])[-400:]}'


INFERENCER = """
import sys
from mmad.apis import AnomalyInferencer
from mmad.errors import InputError

try:
    samples = AnomalyInferencer(sys.argv[1], device='cpu')(sys.argv[2])
    assert all(sample.pred_score.isfinite() for sample in samples)
except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
"""


def few_images(root):
    """A category of a few images of 48 x 56 pixels."""
    rng = np.random.default_rng(0)
    for name in ('train/good/000', 'train/good/001', 'train/good/002',
                 'test/good/000', 'test/hole/000', 'test/hole/001'):
        image = rng.integers(90, 140, (48, 56, 3)).astype(np.uint8)
        path = root / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        if 'hole' in name:
            image[20:30, 20:30] = 0
            mask = np.zeros((48, 56), np.uint8)
            mask[20:30, 20:30] = 255
            truth = root / 'ground_truth' / f'{name[5:]}_mask.png'
            truth.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(truth)
        Image.fromarray(image).save(path)


@pytest.fixture(scope='session')
def sound(start_tool, tmp_path_factory):
    """Folder with data, a config and a fitted checkpoint of it."""
    folder = tmp_path_factory.mktemp('fuzz')
    few_images(folder / 'data')
    (folder / 'config.py').write_text(BASE.format(data=folder / 'data'))
    (folder / 'inferencer.py').write_text(INFERENCER)
    fault = call(folder / 'fit', 'train.py', folder / 'config.py',
                 '--work-dir', folder / 'fit', '--no-validate')
    assert fault is None, fault
    return folder


def fuzz_config(sound, folder, rng):
    tree = Config.fromfile(sound / 'config.py').to_dict()
    mutate_tree(tree, rng, JUNK)
    config = folder / 'mutated.py'
    config.write_text(literal(tree))
    return call(folder, 'train.py', config, '--work-dir', folder / 'work')


def fuzz_data(sound, folder, rng):
    shutil.copytree(sound / 'data', folder / 'data')
    mutate_data(folder / 'data', rng)
    return call(folder, 'train.py', sound / 'config.py', '--data-root',
                folder / 'data', '--work-dir', folder / 'work')


def fuzz_checkpoint(sound, folder, rng):
    checkpoint = folder / 'mutated.pth'
    shutil.copy(sound / 'fit' / 'epoch_1.pth', checkpoint)
    mutate_checkpoint(checkpoint, rng)
    return call(folder, sound / 'inferencer.py',
                checkpoint, sound / 'data/test/good') or call(
                    folder, 'test.py', sound / 'config.py', checkpoint,
                    '--work-dir', folder / 'work')


def run_cases(target, sound, folder, seeds):
    faults = {}
    for seed in seeds:
        case = folder / str(seed)
        case.mkdir()
        fault = target(sound, case, random.Random(f'{target.__name__} {seed}'))
        if fault is not None:
            faults[seed] = fault
        _remove(case)
    text = '\n'.join(f'{seed}: {fault}' for seed, fault in faults.items())
    assert not faults, f'{target.__name__}\n{text}'


def _remove(folder):
    for path in folder.rglob('*'):
        if stat.S_ISFIFO(path.lstat().st_mode):
            path.unlink()
    shutil.rmtree(folder)


TARGETS = [fuzz_config, fuzz_data, fuzz_checkpoint]


@pytest.mark.parametrize('part', range(4))
@pytest.mark.parametrize('target', TARGETS)
def test_200_mutations(target, part, sound, tmp_path):
    run_cases(target, sound, tmp_path, range(17 * part, 17 * (part + 1)))


@pytest.mark.slow
@pytest.mark.parametrize('part', range(4))
@pytest.mark.parametrize('target', TARGETS)
def test_2000_mutations(target, part, sound, tmp_path):
    run_cases(target, sound, tmp_path,
              range(1000 + 167 * part, 1000 + 167 * (part + 1)))
