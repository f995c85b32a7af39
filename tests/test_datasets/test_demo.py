import csv

import cv2
import numpy as np
import pytest
from seen_poses import find_pose

from mmad.datasets import demo
from mmad.datasets.demo import generate_demo
from mmad.datasets.demo_plate import DEFECT_TYPES, render
from mmad.errors import InputError

SMALL = dict(num_train=2, num_good=1, num_per_defect_type=1, size=96)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*') if path.is_file()
    }


def test_layout(tmp_path):
    folder = generate_demo(tmp_path, **SMALL)
    assert folder == tmp_path / 'plate'
    assert list(tmp_path.iterdir()) == [folder]
    wanted = {'generated.json', 'test/good/000.png'}
    wanted |= {f'train/good/{number:03d}.png' for number in range(2)}
    wanted |= {f'test/{name}/000.png' for name in DEFECT_TYPES}
    wanted |= {f'ground_truth/{name}/000_mask.png' for name in DEFECT_TYPES}
    assert set(contents(folder)) == wanted
    image = cv2.imread(str(folder / 'test/scratch/000.png'))
    assert image.shape == (96, 96, 3)
    mask = cv2.imread(
        str(folder / 'ground_truth/scratch/000_mask.png'),
        cv2.IMREAD_UNCHANGED)
    assert mask.shape == (96, 96)
    assert set(np.unique(mask)) == {0, 255}


def test_seed_decides(tmp_path):
    first = contents(generate_demo(tmp_path / 'first', **SMALL))
    assert contents(generate_demo(tmp_path / 'again', **SMALL)) == first
    other = contents(generate_demo(tmp_path / 'other', seed=1, **SMALL))
    assert not set(first.values()) & set(other.values())


def test_upright_plates_are_those_at_any_pose(tmp_path):
    settings = dict(SMALL, size=256)
    turned = generate_demo(tmp_path, 'plate_any-pose', **settings)
    upright = generate_demo(tmp_path, 'plate_upright', **settings)
    names = set(contents(upright))
    assert set(contents(turned)) == names | {'poses.csv'}
    with open(turned / 'poses.csv') as file:
        poses = {row.pop('file'): row for row in csv.DictReader(file)}
    assert set(poses) == {
        name
        for name in names if name.startswith(('train', 'test'))
    }
    for name, pose in poses.items():
        before, after = (
            cv2.imread(str(folder / name))[..., ::-1].copy()
            for folder in (turned, upright))
        x, y, angle = find_pose(before)
        assert abs((x + 0.5) / 256 - float(pose['x'])) < 0.006
        assert abs((y + 0.5) / 256 - float(pose['y'])) < 0.006
        x, y, angle = find_pose(after)
        assert abs(x - 127.5) < 1
        assert abs(y - 127.5) < 1
        assert abs(angle) < 2
    for name in names:
        if 'ground_truth' in name:
            masks = [
                cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
                for folder in (turned, upright)
            ]
            # A defect keeps its size and its distance from the center.
            pose = poses[name.replace('ground_truth',
                                      'test').replace('_mask', '')]
            assert set(np.unique(masks[1])) == {0, 255}
            assert 0.7 < (masks[1] > 0).sum() / (masks[0] > 0).sum() < 1.4
            centers = [np.argwhere(mask).mean(0) for mask in masks]
            middle = 256 * np.array([float(pose['y']), float(pose['x'])])
            far = [
                np.hypot(*(center + 0.5 - start))
                for center, start in zip(centers, (middle, 128))
            ]
            assert abs(far[0] - far[1]) < 1


def test_unknown_category_is_named(tmp_path):
    with pytest.raises(InputError, match='plate_any-pose'):
        generate_demo(tmp_path, 'plates', **SMALL)


def test_poses_are_part_of_a_complete_set(tmp_path):
    folder = generate_demo(tmp_path, 'plate_any-pose', **SMALL)
    (folder / 'poses.csv').unlink()
    with pytest.raises(InputError, match='remove it'):
        generate_demo(tmp_path, 'plate_any-pose', **SMALL)


def test_complete_set_is_left_alone(tmp_path, monkeypatch):
    folder = generate_demo(tmp_path, **SMALL)
    monkeypatch.setattr(demo, 'render', None)
    assert generate_demo(tmp_path, **SMALL) == folder


def test_other_content_is_not_overwritten(tmp_path):
    folder = generate_demo(tmp_path, **SMALL)
    before = contents(folder)
    with pytest.raises(InputError, match='remove it'):
        generate_demo(tmp_path, seed=1, **SMALL)
    assert contents(folder) == before
    (folder / 'train/good/001.png').unlink()
    with pytest.raises(InputError, match='remove it'):
        generate_demo(tmp_path, **SMALL)


def test_interruption_leaves_nothing(tmp_path, monkeypatch):

    def interrupted(seed, split, *args, **kwargs):
        if split == 'test':
            raise KeyboardInterrupt
        return render(seed, split, *args, **kwargs)

    monkeypatch.setattr(demo, 'render', interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_demo(tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='cannot be written'):
        generate_demo(tmp_path / 'file', **SMALL)
