"""`tools/dataset_converters/magnetic_tile.py`"""
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmad.datasets import MagneticTile

SCRIPT = 'dataset_converters/magnetic_tile.py'
TOOLS = Path(__file__).resolve().parents[1] / 'tools'
DEFECT_TYPES = ('blowhole', 'break', 'crack', 'fray', 'uneven')


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOLS / SCRIPT))


def write_shot(root, defect_type, exposure, number):
    name = ('MT_Free'
            if defect_type == 'good' else f'MT_{defect_type.capitalize()}')
    path = root / name / f'Imgs/exp{exposure}_num_{number}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('L', (6, 5)).save(path)
    mask = np.zeros((5, 6), np.uint8)
    mask[2, 3] = 255 * (defect_type != 'good')
    Image.fromarray(mask).save(path.with_suffix('.png'))
    return path


@pytest.fixture
def source(tmp_path):
    """Ten good tiles, one of each defect type, one with a good shot."""
    for tile in range(10):
        for exposure in range(1, 7):
            write_shot(tmp_path / 'raw', 'good', exposure,
                       1000 * tile + 15 * exposure)
    for tile, defect_type in enumerate(DEFECT_TYPES, 10):
        for exposure in range(1, 4):
            write_shot(tmp_path / 'raw', defect_type, exposure,
                       1000 * tile + 15 * exposure)
    write_shot(tmp_path / 'raw', 'good', 4, 10060)
    return tmp_path / 'raw'


def tiles_of(folder):
    return {int(p.stem.split('_')[-1]) // 1000 for p in folder.iterdir()}


def convert(run_tool, source, *args):
    target = source.parent / 'out'
    result = run_tool(source.parent, SCRIPT, source, target, *args)
    assert result.status == 0, result.err
    return target, result.out


@pytest.mark.parametrize(('share', 'held'), [(0.2, 2), (0.5, 5)])
def test_no_tile_is_on_both_sides(run_tool, source, share, held):
    target, out = convert(run_tool, source, '--share', share)
    train = tiles_of(target / 'train/good')
    test = tiles_of(target / 'test/good')
    assert train | test == {*range(11)}
    assert not train & test
    assert 10 in test  # its other shots are defective
    assert len(test) == 1 + held
    assert f'{6 * (10 - held)} good images to train with' in out


def test_reads_as_data_set(run_tool, source):
    target, _ = convert(run_tool, source)
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='PackInputs')
    ]
    samples = [
        item['data_samples']
        for item in MagneticTile(str(target), 'test', pipeline=pipeline)
    ]
    for defect_type in DEFECT_TYPES:
        assert [
            int(s.gt_mask.sum()) for s in samples
            if s.defect_type == defect_type
        ] == [1, 1, 1]
    assert len(MagneticTile(str(target), 'train')) == 48
    assert not list((target / 'test/good').glob('*.png'))


def test_seed_decides(run_tool, source):
    held = []
    for i, seed in enumerate((0, 0, 1)):
        target, _ = convert(run_tool, source, '--seed', seed)
        held.append(tiles_of(target / 'test/good'))
        target.rename(source.parent / f'out_{i}')
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize(
    ('shots', 'tiles'),
    [
        ([(1, 10), (2, 30), (3, 44), (1, 500), (2, 520)], [3, 2]),  # by a jump
        ([(5, 100), (6, 800)], [2]),  # a long pause within a tile
        ([(1, 10), (1, 60), (2, 70), (2, 90)], [4]),  # two tiles in turns
        ([(6, 10), (1, 110)], [2]),
        ([(6, 10), (1, 111)], [1, 1]),
    ])
def test_tiles(tool, shots, tiles):
    shots = [tool['Shot'](Path(f'{n}.jpg'), 'good', e, n) for e, n in shots]
    found = tool['group_tiles'](shots)
    assert [len(tile) for tile in found] == tiles
    assert [shot for tile in found for shot in tile] == shots


def test_useless_masks_are_reported(run_tool, source):
    empty = write_shot(source, 'uneven', 5, 14080)
    Image.new('L', (6, 5)).save(empty.with_suffix('.png'))
    other = write_shot(source, 'fray', 5, 13080)
    Image.new('L', (5, 6), 255).save(other.with_suffix('.png'))
    target, out = convert(run_tool, source)
    left_out = [
        line.split(': ')[1] for line in out.splitlines()
        if line.startswith('Left out')
    ]
    assert left_out == [str(other), str(empty)]
    assert len(list((target / 'test/uneven').iterdir())) == 3


def spoil_folder(source):
    (source / 'MT_Crack').rename(source / 'elsewhere')


def spoil_mask(source):
    (source / 'MT_Crack/Imgs/exp1_num_12015.png').unlink()


def spoil_name(source):
    (source / 'MT_Free/Imgs/exp1_num_15.jpg').rename(source /
                                                     'MT_Free/Imgs/copy.jpg')


def spoil_target(source):
    (source.parent / 'out').mkdir()


@pytest.mark.parametrize(('spoil', 'message'), [
    (spoil_folder, 'no .jpg files in "{0}/MT_Crack/Imgs"; expected MT_Blow'),
    (spoil_mask, 'no mask; expected "{0}/MT_Crack/Imgs/exp1_num_12015.png"'),
    (spoil_name, '"{0}/MT_Free/Imgs/copy.jpg" is not named expE_num_N.jpg'),
    (spoil_target, '/out" exists; remove it'),
])
def test_errors(run_tool, source, spoil, message):
    spoil(source)
    before = sorted(source.parent.iterdir())
    result = run_tool(source.parent, SCRIPT, source, source.parent / 'out')
    assert result.status == 2
    assert message.format(source) in result.err
    assert len(result.err.splitlines()) == 1
    made = {*source.parent.iterdir()} - {*before}
    assert {path.name for path in made} <= {'stdout', 'stderr'}
