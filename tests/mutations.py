"""Random damage to a config, to a folder of data, and to a checkpoint."""
import os
import re
import shutil
import struct
import zlib
from copy import deepcopy

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmad.utils import load_checkpoint

# Nothing in it names a place outside the folder that the tools run in, which
# is part of the work directory, and no number keeps a machine busy.
JUNK = [
    None, True, False, -1, 0, 1, 2, 7, 0.5, -0.5, 1e30,
    float('nan'),
    float('inf'), '', 'abc', '1', '../x', './x', 'PatchCore', 'FitHook',
    'builtins.print', 'mmad.LoadImage', 'a\nb', "o'brien", 'ä\u200b', [], {},
    [None], [1, 'a'],
    dict(type='Resize'),
    dict(type=None),
    dict(typ='X'),
    dict(type='no.such.thing'),
    dict(_scope_='mmdet', type='Resize'), b'x', (1, 2), (-1, 5), (3, )
]
ATTACKS = [
    dict(type='os.system', command='touch escaped'),
    dict(type='subprocess.Popen', args=['touch', 'escaped']),
    dict(type='builtins.open', file='escaped', mode='w'),
    dict(type='builtins.exec', _scope_='mmengine'),
    dict(type='pathlib.Path.touch', self='escaped'),
    dict(type='runpy.run_path', path_name='../../attack.py'),
    dict(
        type='Compose',
        transforms=[dict(type='os.system', command='touch escaped')]),
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
        b'IHDR', struct.pack('>IIBBBBB', width, height, depth, color, 0, 0,
                             0)) + chunk(b'IDAT', zlib.compress(b'')) + chunk(
                                 b'IEND', b'')


def spoil_file(path, rng):
    """Put something else in the place of a file."""
    content = path.read_bytes()
    size = rng.randrange(len(content))
    flipped = bytearray(content)
    flipped[size] ^= 1 << rng.randrange(8)
    what = rng.randrange(12)
    if what < 6:
        path.write_bytes([
            content[:size], b'',
            bytes(flipped), b'text', content[size:],
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
        path.with_suffix(rng.choice(['.txt', '.PNG', '',
                                     '.jpeg'])).write_bytes(content)


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
        mode = rng.choice([
            '1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16', 'F', 'I', 'CMYK', 'RGB'
        ])
        values = np.random.default_rng(rng.randrange(99)).integers(
            0, 2, shape) * rng.choice([1, 9, 255])
        what = rng.randrange(9)
        if what < 3:
            spoil_file(path, rng)
        elif what == 3:
            suffix = '.tif' if mode in ('F', 'I', 'CMYK') else '.png'
            image = Image.fromarray(
                values.astype(np.float32 if mode == 'F' else np.uint8))
            if mode == 'I;16':
                image = Image.fromarray(values.astype(np.uint16) * 200)
            elif mode != 'F':
                image = image.convert(mode)
            path.unlink()
            image.save(path.with_suffix(suffix))
        elif what == 4:
            path.write_bytes(
                png(*rng.choice([(60000, 60000), (0, 5), (5, 0), (2**31 - 1,
                                                                  1), (90000,
                                                                       9)])))
        elif what == 5:
            name = rng.choice([
                '.hidden', '@eaDir', 'deep', 'a\nb', "o'b", 'ä', 'x' * 200,
                'good', 'bad', '__MACOSX', 'train', '000.png'
            ])
            target = folder / name
            if not target.exists():
                target.mkdir()
                shutil.copy(path, target / path.name)
        elif what == 6:
            name = rng.choice([
                '._000.png', 'Thumbs.db', 'a b.png', "o'b.png", 'a\nb.png',
                '000.jpg', '000_mask.png', '000_mask.bmp', 'ü.png', '-x.png',
                os.fsdecode(b'\xff.png'), 'x' * 240 + '.png'
            ])
            shutil.copy(path, folder / name)
        elif what == 7:
            shutil.rmtree(folder)
        else:
            link = folder / rng.choice(['loop', 'loop.png'])
            if not link.is_symlink() and not link.exists():
                link.symlink_to(rng.choice(['.', '..', 'nowhere', str(path)]))


def mutate_checkpoint(path, rng):
    """Change a checkpoint: its bytes, its tensors, or the config in it."""
    what = rng.randrange(8)
    if what < 2:
        spoil_file(path, rng)
        return
    state = load_checkpoint(path)
    tensors = state['state_dict']
    name = rng.choice(sorted(tensors))
    if what == 2:
        del tensors[name]
    elif what == 3:
        tensors[name] = rng.choice([
            torch.full((3, ), float('nan')),
            torch.zeros(0), 'text', None, 3,
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
