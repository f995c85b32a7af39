"""Small imitations of the data sets, each in the layout of its download."""
import struct

import numpy as np
from small_data import write_ad_2_data, write_data, write_loco_data


def _mvtec(category):

    def write(root):
        write_data(root / category)

    return write


def _visa(root):
    _mvtec('candle')(root)
    lines = ['object,split,label,image,mask']
    for old in sorted((root / 'candle').glob('t*/*/*.png')):
        split, kind = old.parts[-3:-1]
        is_good = kind == 'good'
        folder = 'Normal' if is_good else 'Anomaly'
        name = f'candle/Data/Images/{folder}/{split}_{kind}_{old.stem}.png'
        mask = '' if is_good else name.replace('Images', 'Masks')
        _move(old, root / name)
        if mask:
            _move(root / f'candle/ground_truth/{kind}/{old.stem}_mask.png',
                  root / mask)
        label = 'normal' if is_good else 'anomaly'
        lines.append(f'candle,{split},{label},{name},{mask}')
    (root / 'split_csv').mkdir()
    (root / 'split_csv/1cls.csv').write_text('\n'.join(lines) + '\n')


def _btad(root):
    _mvtec('01')(root)
    for old in sorted((root / '01').rglob('*.png')):
        part, kind = old.parts[-3:-1]
        kind, name = ('ok', old.name) if kind == 'good' else (
            'ko', f'{kind}_{old.name.replace("_mask", "")}')
        _move(old, root / '01' / part / kind / name)


def _loco(root):
    write_loco_data(root / 'breakfast_box')


def _ad_2(root):
    write_ad_2_data(root / 'can')


def _folder(root):
    write_data(root)
    _move(root / 'train/good', root / 'normal')
    for kind in ('hole', 'scratch'):
        _move(root / 'test' / kind, root / 'abnormal' / kind)
    _move(root / 'ground_truth', root / 'masks')


def _mnist(root):
    """Zeros are rings, of which some have a gap; ones are bars."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:28, :28] - 13.5
    ring = abs(np.hypot(rows, columns) - 8) < 2
    shapes = [ring, abs(columns) < 2]
    folder = root / 'MNIST/raw'
    folder.mkdir(parents=True)
    for part, number in (('train', 14), ('t10k', 6)):
        labels = np.arange(number, dtype=np.uint8) % 2
        images = np.stack([shapes[label] for label in labels]) * 200
        images = images + rng.integers(0, 50, images.shape)
        for kind, array in (('images-idx3', images), ('labels-idx1', labels)):
            head = struct.pack('>HBB', 0, 8, array.ndim)
            head += struct.pack(f'>{array.ndim}I', *array.shape)
            (folder / f'{part}-{kind}-ubyte'
             ).write_bytes(head + array.astype(np.uint8).tobytes())


def _move(old, new):
    new.parent.mkdir(parents=True, exist_ok=True)
    old.rename(new)


# By the name of the file in `configs/_base_/datasets`: what writes the files,
# with the category of that file, below its `data_root`.
IMITATIONS = dict(
    any_pose_demo=_mvtec('plate_any-pose'),
    btad=_btad,
    folder=_folder,
    large_folder=_folder,
    magnetic_tile=write_data,
    mpdd=_mvtec('bracket_black'),
    mvtec_ad=_mvtec('bottle'),
    mvtec_ad_2=_ad_2,
    mvtec_loco=_loco,
    one_class=_mnist,
    rd_mvtec_ad=_mvtec('bottle'),
    visa=_visa)
# What the files about own folders leave to the command line.
OPTIONS = {
    name: ['--mask-dir', 'masks']
    for name in ('folder', 'large_folder')
}
