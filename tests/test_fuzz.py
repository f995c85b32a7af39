"""Random damage to a config, to data and to a checkpoint ends well, or in one
sentence with status 2; never later than `LIMIT`, and without a trace outside
the work directory."""
import multiprocessing as mp
import os
import random
import re
import shutil
import stat
import struct
import sys
import tempfile
import zlib
from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import ROOT, _tool
from mmengine.config import Config
from PIL import Image

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
# Nothing in it names a place outside the folder that the tools run in, which
# is part of the work directory, and no number keeps a machine busy.
JUNK = [
    None, True, False, -1, 0, 1, 2, 7, 0.5, -0.5, 1e30, float('nan'),
    float('inf'), '', 'abc', '1', '../x', './x', 'PatchCore', 'FitHook',
    'builtins.print', 'mmad.LoadImage', 'a\nb', "o'brien", 'ä\u200b', [], {},
    [None], [1, 'a'], dict(type='Resize'), dict(type=None), dict(typ='X'),
    dict(type='no.such.thing'), dict(_scope_='mmdet', type='Resize'), b'x',
    (1, 2), (-1, 5), (3,)
]
ATTACKS = [
    dict(type='os.system', command='touch escaped'),
    dict(type='subprocess.Popen', args=['touch', 'escaped']),
    dict(type='builtins.open', file='escaped', mode='w'),
    dict(type='builtins.exec', _scope_='mmengine'),
    dict(type='pathlib.Path.touch', self='escaped'),
    dict(type='runpy.run_path', path_name='../../attack.py'),
    dict(type='Compose', transforms=[dict(
        type='os.system', command='touch escaped')]),
    dict(type='mmengine.Runner.from_cfg', cfg=dict()),
]


def places(tree):
    """Each dict or list of a tree with each of its keys."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from places(tree[key])


def mutate_tree(tree, rng, junk):
    """Change one to three places of a tree of dicts and lists."""
    for _ in range(rng.randint(1, 3)):
        found = list(places(tree))
        if not found:
            return
        node, key = rng.choice(found)
        other, other_key = rng.choice(found)
        what = rng.randrange(6)
        if what == 0:
            del node[key]
        elif what == 1 and isinstance(node, dict):
            name = list(str(key))
            name.insert(rng.randrange(len(name) + 1), rng.choice('aex_.'))
            node[''.join(name)] = node.pop(key)
        elif what == 2:
            node[key] = deepcopy(other[other_key])
        elif what == 3 and isinstance(node, list):
            rng.shuffle(node)
        else:
            node[key] = deepcopy(rng.choice(junk))


def literal(tree):
    """A tree as the text of a config file."""
    text = '\n'.join(f'{key} = {value!r}' for key, value in tree.items()
                     if str(key).isidentifier())
    return re.sub(r'(?<![\w\'])(nan|inf)(?![\w\'])', r"float('\1')", text)


def png(width, height, depth=8, color=2):
    """A PNG file that says it is of some size and holds nothing."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack('>I', len(data)) + name + data + struct.pack(
            '>I', check)

    return b'\x89PNG\r\n\x1a\n' + chunk(
        b'IHDR', struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0)
    ) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


def spoil_file(path, rng):
    """Put something else in the place of a file."""
    content = path.read_bytes()
    size = rng.randrange(len(content))
    flipped = bytearray(content)
    flipped[size] ^= 1 << rng.randrange(8)
    what = rng.randrange(12)
    if what < 6:
        path.write_bytes([
            content[:size], b'', bytes(flipped), b'text', content[size:],
            b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n'
        ][what])
        return
    path.unlink()
    if what == 6:
        path.mkdir()
    elif what == 7:
        os.mkfifo(path)
    elif what == 8:
        path.symlink_to(path.name)
    elif what == 9:
        path.symlink_to('..')
    elif what == 10:
        path.with_suffix(rng.choice(['.txt', '.PNG', '', '.jpeg'])
                         ).write_bytes(content)


def mutate_data(root, rng):
    """Change one to three things in a folder of data."""
    for _ in range(rng.randint(1, 3)):
        files = sorted(
            path for path in root.rglob('*')
            if path.is_file() and not path.is_symlink())
        folders = sorted(
            path for path in root.rglob('*')
            if path.is_dir() and not path.is_symlink())
        if not files:
            return
        path, folder = rng.choice(files), rng.choice(folders)
        shape = rng.choice([(48, 56), (3, 90), (1, 1), (64, 64)])
        mode = rng.choice(['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16', 'F',
                           'I', 'CMYK', 'RGB'])
        values = np.random.default_rng(rng.randrange(99)).integers(
            0, 2, shape) * rng.choice([1, 9, 255])
        what = rng.randrange(9)
        if what < 3:
            spoil_file(path, rng)
        elif what == 3:
            suffix = '.tif' if mode in ('F', 'I', 'CMYK') else '.png'
            image = Image.fromarray(values.astype(
                np.float32 if mode == 'F' else np.uint8))
            if mode == 'I;16':
                image = Image.fromarray(values.astype(np.uint16) * 200)
            elif mode != 'F':
                image = image.convert(mode)
            path.unlink()
            image.save(path.with_suffix(suffix))
        elif what == 4:
            path.write_bytes(png(*rng.choice([
                (60000, 60000), (0, 5), (5, 0), (2**31 - 1, 1), (90000, 9)])))
        elif what == 5:
            name = rng.choice([
                '.hidden', '@eaDir', 'deep', 'a\nb', "o'b", 'ä', 'x' * 200,
                'good', 'bad', '__MACOSX', 'train', '000.png'])
            target = folder / name
            if not target.exists():
                target.mkdir()
                shutil.copy(path, target / path.name)
        elif what == 6:
            name = rng.choice([
                '._000.png', 'Thumbs.db', 'a b.png', "o'b.png", 'a\nb.png',
                '000.jpg', '000_mask.png', '000_mask.bmp', 'ü.png', '-x.png',
                os.fsdecode(b'\xff.png'), 'x' * 240 + '.png'])
            shutil.copy(path, folder / name)
        elif what == 7:
            shutil.rmtree(folder)
        else:
            link = folder / rng.choice(['loop', 'loop.png'])
            if not link.is_symlink() and not link.exists():
                link.symlink_to(
                    rng.choice(['.', '..', 'nowhere', str(path)]))


def mutate_checkpoint(path, rng):
    """Change a checkpoint: its bytes, its tensors, or the config in it."""
    what = rng.randrange(8)
    if what < 2:
        spoil_file(path, rng)
        return
    state = torch.load(path, weights_only=False)
    tensors = state['state_dict']
    name = rng.choice(sorted(tensors))
    if what == 2:
        del tensors[name]
    elif what == 3:
        tensors[name] = rng.choice([
            torch.full((3,), float('nan')), torch.zeros(0), 'text', None, 3,
            torch.zeros(2, 2, dtype=torch.int64)
        ])
    elif what == 4:
        value = tensors[name].to(torch.float32)
        tensors[name] = value * float(rng.choice(['nan', 'inf', '1e30']))
    elif what == 5:
        mutate_tree(state, rng, JUNK)
    else:
        tree = Config.fromstring(state['meta']['cfg'], '.py').to_dict()
        mutate_tree(tree, rng, ATTACKS + JUNK)
        state['meta']['cfg'] = literal(tree)
    torch.save(state, path)


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
    _tool(folder, name, args, env)


def call(folder, name, *args):
    """Run a tool with a time limit; what it did wrong, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'tmp').mkdir(exist_ok=True)
    process = mp.get_context('fork').Process(
        target=_case,
        args=(folder, name, [str(arg) for arg in args], {}))
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
        line for line in err.splitlines() if line.startswith('error: ')]
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
    return call(
        folder, sound / 'inferencer.py', checkpoint, sound / 'data/test/good'
    ) or call(folder, 'test.py', sound / 'config.py', checkpoint,
              '--work-dir', folder / 'work')


def run_cases(target, sound, folder, seeds):
    faults = {}
    for seed in seeds:
        case = folder / str(seed)
        case.mkdir()
        fault = target(
            sound, case, random.Random(f'{target.__name__} {seed}'))
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
