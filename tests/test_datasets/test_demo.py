import cv2
import numpy as np
import pytest

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


def test_pictures_differ():
    images = [
        render(0, split, index)[0].tobytes() for split in ('train', 'test')
        for index in range(3)
    ]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize('defect_type', DEFECT_TYPES)
@pytest.mark.parametrize('index', range(6))
def test_defect_is_where_the_mask_is(defect_type, index):
    sound, empty = render(0, 'test', index)
    image, mask = render(0, 'test', index, defect_type)
    assert not empty.any()
    assert 10 < (mask > 0).sum() < 1500
    change = np.abs(image.astype(int) - sound).max(2)
    assert np.quantile(change[mask > 0], 0.8) > 8
    near = cv2.dilate(mask, np.ones((25, 25))) > 0
    assert not change[~near].any()


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
