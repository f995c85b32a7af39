import copy
import pickle

import pytest
from mmengine.dataset import BaseDataset
from PIL import Image
from torch.utils.data import DataLoader

from mmad.datasets import FolderDataset


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / 'normal').mkdir()
    for number in range(5):
        Image.new('RGB', (8, 6)).save(tmp_path / 'normal' / f'{number}.png')
    return FolderDataset(tmp_path, 'train', 'normal', holdout=0.4)


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_arrays_are_those_of_mmengine(dataset):
    assert dataset.data_list == []
    plain = FolderDataset(
        dataset.data_root,
        'train',
        'normal',
        holdout=0.4,
        serialize_data=False)
    content, ends = BaseDataset._serialize_data(plain)
    for own, expected in ((dataset.data_bytes, content), (dataset.data_address,
                                                          ends)):
        assert own.dtype == expected.dtype
        assert (own == expected).all()


def test_spawning_moves_them_to_shared_memory_once(dataset, monkeypatch):
    expected, held_out = infos(dataset), dataset.held_out
    monkeypatch.setattr('mmad.datasets.shared_annotations.get_spawning_popen',
                        object)
    places = set()
    for _ in range(2):
        state = dataset.__getstate__()
        assert state['data_bytes'].is_shared()
        assert state['data_address'].is_shared()
        places.add(state['data_bytes'].data_ptr())
        worker = FolderDataset.__new__(FolderDataset)
        worker.__setstate__(state)
        assert infos(worker) == infos(dataset) == expected
        assert worker.held_out == held_out
    assert places == {dataset.data_bytes.ctypes.data}
    # Those of a part are its own.
    part = dataset.get_subset([2, 0])
    part.__getstate__()
    assert [info['img_path'] for info in infos(part)
            ] == [expected[i]['img_path'] for i in (2, 0)]


@pytest.mark.slow
def test_spawned_workers_have_them_all(dataset):
    loader = DataLoader(
        Paths(dataset),
        batch_size=None,
        num_workers=2,
        multiprocessing_context='spawn')
    assert list(loader) == [[info['img_path'], dataset.held_out]
                            for info in infos(dataset)]


class Paths:

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return [
            self.dataset.get_data_info(index)['img_path'],
            self.dataset.held_out
        ]


@pytest.mark.parametrize('clone', [
    copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)),
    lambda one: one.get_subset([0, 1, 2])
])
def test_copies_are_whole(dataset, clone):
    other = clone(dataset)
    assert len(other) == 3
    assert [other.get_data_info(i)
            for i in range(3)] == [dataset.get_data_info(i) for i in range(3)]
    assert other.held_out == dataset.held_out


def test_a_subset_has_nothing_of_one_that_is_gone(dataset):
    """An object may have the address of one that was copied before."""
    dataset.full_init()
    gone = BaseDataset._copy_without_annotation.__defaults__[0]
    known = dict(gone)
    subset = dataset.get_subset([0])
    assert gone == known
    gone.update({id(step): dataset for step in dataset.pipeline.transforms})
    try:
        subset = dataset.get_subset([0])
    finally:
        gone.clear()
        gone.update(known)
    assert dataset not in subset.pipeline.transforms
    assert ([type(step) for step in subset.pipeline.transforms
             ] == [type(step) for step in dataset.pipeline.transforms])
