import gc
import os

from mmad.models.layers.partial_folder import PartialFolder


def folders(parent):
    return sorted(path.name for path in parent.iterdir() if path.is_dir())


def test_it_goes_with_its_object(tmp_path):
    folder = PartialFolder(tmp_path / 'new', 1)
    (folder.path / 'file').touch()
    assert folders(tmp_path / 'new') == ['partial-1']
    del folder
    gc.collect()
    assert folders(tmp_path / 'new') == []
    assert not list(tmp_path.rglob('partial-*.lock'))


def test_removed_and_released(tmp_path):
    PartialFolder(tmp_path, 1).remove()
    assert folders(tmp_path) == []
    folder = PartialFolder(tmp_path, 2)
    folder.release()
    folder.remove()
    assert folders(tmp_path) == ['partial-2']
    assert not list(tmp_path.glob('partial-*.lock'))


def test_of_several_processes_the_first_to_go_removes_it(tmp_path):
    first, second = PartialFolder(tmp_path, 1), PartialFolder(tmp_path, 1)
    assert first.path == second.path
    first.remove()
    second.remove()
    assert folders(tmp_path) == []


def test_only_what_nobody_holds_is_cleared_away(tmp_path):
    (tmp_path / 'partial-a').mkdir()
    (tmp_path / 'partial-b').mkdir()
    (tmp_path / 'partial-b.0.lock').touch()
    (tmp_path / 'other').mkdir()
    held = PartialFolder(tmp_path, 1)
    newest = PartialFolder(tmp_path, 2)
    assert folders(tmp_path) == ['other', 'partial-1', 'partial-2']
    assert os.path.isdir(held.path)
    assert os.path.isdir(newest.path)
