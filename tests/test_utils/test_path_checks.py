import os

import pytest
from mmengine.config import Config

from mmad.errors import InputError
from mmad.utils import path_checks
from mmad.utils.path_checks import (
    check_category,
    check_file,
    check_files,
    check_folder,
)


@pytest.mark.parametrize('name', ['new', 'new/deep/er', '.', 'there'])
def test_a_place_for_files_is_left_as_it_was(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'there').mkdir()
    check_folder(name, '--work-dir')
    check_file(f'{name}/file.png', '--out')
    assert os.listdir(tmp_path) == ['there']
    assert not os.listdir(tmp_path / 'there')


@pytest.mark.parametrize('name', [
    'file', 'file/below', 'file/far/below', 'link', 'link/below', '/proc/x',
    'a' * 300, 'new/' + 'a' * 300, '', '/dev/null', 'loop'
])
def test_no_place_for_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to('/nonesuch/x')
    (tmp_path / 'loop').symlink_to('loop')
    with pytest.raises(InputError, match=r'^--work-dir[^\n]*$'):
        check_folder(name, '--work-dir')
    with pytest.raises(InputError, match=r'^--out[^\n]*$'):
        check_file(f'{name}/x.png' if name else '', '--out')


def test_a_full_disk(tmp_path, monkeypatch):

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(path_checks.os, 'fsync', full)
    with pytest.raises(InputError, match='No space left'):
        check_folder(tmp_path / 'new', '--work-dir')


@pytest.mark.parametrize('name', [None, 'bottle', 'a/b', 'a.b', '01', 'é', 1])
def test_categories(name):
    check_category(name)


@pytest.mark.parametrize('name', [
    '../x', '..', 'a/../../x', '/etc', 'a\\..\\..\\x', '\\x', 'C:\\x', 'C:x',
    '', '.', 'a\nb', 'a\0b', './../x'
])
def test_categories_that_lead_outside(name):
    with pytest.raises(InputError, match=r'^the category [^\n]*$'):
        check_category(name)


@pytest.mark.parametrize('entries', [
    dict(load_from='none.pth'),
    dict(model=dict(backbone=dict(weights='none.pth'))),
    dict(
        model=dict(members=[
            dict(backbone=dict(weights='IMAGENET1K_V1')),
            dict(backbone=dict(weights='none.pth'))
        ])),
])
def test_files_that_are_missing(tmp_path, monkeypatch, entries):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r'"none\.pth" does not exist'):
        check_files(Config(entries))
    (tmp_path / 'none.pth').touch()
    check_files(Config(entries))


def test_published_weights_are_no_file():
    check_files(
        Config(dict(model=dict(backbone=dict(weights='IMAGENET1K_V1')))))
