import shutil
from types import SimpleNamespace

import pytest
import torch

from mmad.errors import InputError
from mmad.utils.same_files import check_same_files


class Names:
    """A data set of which only the names are known."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return dict(img_path=self.paths[index])


def check(rank, names, files):
    data = dict(train_dataloader=names[rank])
    try:
        check_same_files(data, {'the checkpoint': files[rank]})
    except InputError as error:
        return str(error)
    return ''


GOOD = Names([f'/a/good/{i}.png' for i in range(2500)])


def test_copies_in_other_folders(run_processes, tmp_path):
    torch.save(dict(value=torch.ones(3)), tmp_path / 'a')
    shutil.copy(tmp_path / 'a', tmp_path / 'b')
    moved = Names([path.replace('/a/', '/b/c/') for path in GOOD.paths])
    assert run_processes(
        3, check, [GOOD, moved, GOOD],
        [tmp_path / 'a', tmp_path / 'b', tmp_path / 'a']) == [''] * 3
    assert run_processes(2, check, [GOOD, moved], [None, None]) == [''] * 2


@pytest.mark.parametrize(('paths', 'message'), [
    (GOOD.paths[:-1], '2499 images'),
    (GOOD.paths[::-1], '2500 images'),
])
def test_other_images(run_processes, paths, message):
    for found in run_processes(3, check, [GOOD, GOOD, Names(paths)],
                               [None] * 3):
        assert f'`train_dataloader.dataset` is {message}' in found
        assert 'in process 2, but 2500 images' in found


def test_other_checkpoints(run_processes, tmp_path):
    for name, value in (('a', 1.), ('b', 2.)):
        torch.save(dict(value=torch.full((3, ), value)), tmp_path / name)
    for other, words in ((tmp_path / 'b', 'bytes'),
                         (tmp_path / 'no such', 'missing'), (None, 'missing')):
        for found in run_processes(2, check, [GOOD] * 2,
                                   [tmp_path / 'a', other]):
            assert 'the checkpoint is ' in found
            assert words in found
            assert 'in process 1' in found


def test_one_process_reads_nothing():
    check_same_files(
        dict(train_dataloader=SimpleNamespace()),
        {'the checkpoint': 'no such'})
