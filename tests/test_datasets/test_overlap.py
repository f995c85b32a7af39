import os
import shutil
from collections import Counter

import pytest

from mmad.datasets import AnomalyDataset, overlap
from mmad.datasets.overlap import report_overlap
from mmad.errors import InputError
from mmad.registry import DATASETS


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr('mmad.datasets.overlap.log_once',
                        lambda line, level: lines.append(line))
    return lines


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f'{i}.png' for i in range(6)]
    for number, path in enumerate(paths):
        # All of one size, some alike in the middle.
        path.write_bytes(bytes([number]) + bytes(20000) + bytes([number // 2]))
    return paths


def test_different_files(files, said):
    report_overlap('Set', files[:3], files[3:])
    assert said == []


@pytest.mark.parametrize('make', [
    lambda a, b: None, os.symlink, os.link,
    lambda a, b: os.symlink(f'{a.parent}/../{a.parent.name}/{a.name}', b)
])
@pytest.mark.parametrize('place', [0, 2])
def test_the_same_file_is_refused(files, said, make, place):
    other = files[0].parent / 'other.png'
    make(files[1], other)
    test = files[3:5]
    test.insert(place, other if other.exists() else files[1])
    with pytest.raises(InputError, match=r'Set: 1 of the test .*1\.png"'):
        report_overlap('Set', files[:3], test)


def test_equal_content_is_named(files, said):
    other = files[0].parent / 'other.png'
    shutil.copy(files[1], other)
    report_overlap('Set', files[:3], [*files[3:], other])
    line, = said
    assert line.startswith('Set: 1 of the test images have the same')
    assert f'"{files[1]}" = "{other}"' in line


def test_nothing_to_compare(files, said):
    report_overlap('Set', [], files)
    report_overlap('Set', files, [])
    assert said == []


def test_large_sets_are_not_read(tmp_path, monkeypatch):
    for name in ('train', 'test'):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f'{number}.png').write_bytes(bytes([number]))
    train, test = (
        sorted((tmp_path / name).iterdir()) for name in ('train', 'test'))
    assert len(overlap._equal_files(train, test)) == 3
    monkeypatch.setattr(overlap, '_MOST_READ', 5)
    monkeypatch.setattr(overlap, '_middle', None)
    assert overlap._equal_files(train, test) == []


def test_a_file_of_its_own_size_is_looked_up_once(files, said, monkeypatch):
    files[5].write_bytes(b'short')
    seen, stat = Counter(), os.stat
    monkeypatch.setattr(
        os, 'stat',
        lambda path, **options: seen.update([path]) or stat(path, **options))
    report_overlap('Set', files[:3], files[3:])
    assert seen.keys() == set(files)
    assert seen[files[5]] == 1


def test_other_folders_of_the_same_images(own_root):
    other = own_root / 'other'
    (other / 'test').mkdir(parents=True)
    (other / 'test/good').symlink_to(own_root / 'bottle/train/good')
    train = AnomalyDataset(own_root, 'train', 'bottle')
    with pytest.raises(InputError, match='7 of the test images are training'):
        train.check_overlap(AnomalyDataset(other, 'test'))
    train.check_overlap(AnomalyDataset(own_root, 'test', 'bottle'))


@pytest.mark.parametrize('name', ['AnomalyDataset', 'FolderDataset'])
def test_the_same_images_are_compared_once(own_root, tmp_path, monkeypatch,
                                           name):
    calls = []
    for module in ('anomaly_dataset', 'folder_dataset'):
        monkeypatch.setattr(f'mmad.datasets.{module}.report_overlap',
                            lambda *args: calls.append(args))

    def build(root, split, **kwargs):
        if name == 'FolderDataset':
            kwargs.update(normal_dir='train/good', normal_test_dir='test/good')
        return DATASETS.build(
            dict(type=name, data_root=root, split=split, **kwargs))

    root = str(own_root / 'bottle')
    test = build(root, 'test')
    assert len(calls) == 1
    build(root, 'train').check_overlap(test)
    build(root, 'train', indices=[1]).check_overlap(test)
    assert len(calls) == 1
    other = shutil.copytree(own_root / 'bottle', tmp_path / 'other')
    build(str(other), 'train').check_overlap(test)
    assert len(calls) == 2
    train = build(root, 'train')
    (own_root / 'bottle/train/good/new.png').touch()
    train.check_overlap(build(root, 'test'))
    assert len(calls) == 4
