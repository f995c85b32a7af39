import errno
import os
from pathlib import Path

import pytest

from mmad.datasets.files import (
    find_names,
    join_below,
    list_folders,
    list_images,
    require_plain_name,
)
from mmad.errors import InputError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_list_images(tmp_path):
    touch(tmp_path, 'b.PNG', 'a.jpeg', 'notes.txt', '.hidden.png', 'c/d.tif',
          'c/e/f.bmp', 'a.png.bak')
    names = [str(p.relative_to(tmp_path)) for p in list_images(tmp_path)]
    assert names == ['a.jpeg', 'b.PNG']
    names = [
        str(p.relative_to(tmp_path))
        for p in list_images(tmp_path, recursive=True)
    ]
    assert names == ['a.jpeg', 'b.PNG', 'c/d.tif', 'c/e/f.bmp']


def test_order_does_not_depend_on_creation(tmp_path):
    names = [f'{i:03}.png' for i in range(40)]
    touch(tmp_path / 'up', *names)
    touch(tmp_path / 'down', *reversed(names))
    assert [p.name for p in list_images(tmp_path / 'up')] == names
    assert [p.name for p in list_images(tmp_path / 'down')] == names


def test_missing_folder(tmp_path):
    assert list_images(tmp_path / 'none') == []


def names(folder):
    return [
        path.relative_to(folder).as_posix()
        for path in list_images(folder, recursive=True)
    ]


HIDDEN = [
    '.ipynb_checkpoints', '.thumbnails', '@eaDir', '__MACOSX', '@Recycle',
    'lost+found', '.hidden'
]


@pytest.mark.parametrize('name', HIDDEN)
@pytest.mark.parametrize('recursive', [False, True])
def test_hidden_folders(tmp_path, name, recursive):
    touch(tmp_path, 'a.png', f'{name}/a.png', f'{name}/deep/b.png',
          'Thumbs.db', '._a.png')
    found, skipped = find_names(tmp_path, recursive)
    assert found == [f'{tmp_path}/a.png']
    assert list(skipped) == ['hidden']
    assert len(skipped['hidden']) == 3
    assert list_folders(tmp_path) == []


def test_the_folder_itself_may_be_hidden(tmp_path):
    touch(tmp_path, '.cache/a.png')
    assert names(tmp_path / '.cache') == ['a.png']


def test_all_that_is_left_out_is_named(tmp_path):
    touch(tmp_path, 'a.png', 'b.gif', 'c', 'deep/d.png', 'deep/er/e.PNG')
    found, skipped = find_names(tmp_path)
    assert found == [f'{tmp_path}/a.png']
    assert skipped == {
        'without the suffix of an image':
        [f'{tmp_path}/b.gif', f'{tmp_path}/c'],
        'in a deeper folder':
        [f'{tmp_path}/deep/d.png', f'{tmp_path}/deep/er/e.PNG'],
    }


@pytest.mark.parametrize('target', ['.', '..', '../..', 'absolute', '/'])
def test_links_to_folders_around(tmp_path, target):
    good = tmp_path / 'data/good'
    touch(tmp_path, 'x.png', 'data/y.png', 'data/good/a.png',
          'data/good/b/c.png')
    link = str(good) if target == 'absolute' else target
    (good / 'loop').symlink_to(link)
    (good / 'b/loop').symlink_to(link)
    assert names(good) == ['a.png', 'b/c.png']
    assert len(
        find_names(good, True)[1]['linked to a folder that is read '
                                  'elsewhere']) == 2


def test_links_among_folders_are_read_once(tmp_path):
    for a in 'abcdef':
        touch(tmp_path, f'{a}/{a}.png')
        for b in 'abcdef':
            (tmp_path / a / f'to_{b}').symlink_to(f'../{b}')
    assert names(tmp_path) == [f'{a}/{a}.png' for a in 'abcdef']


def test_links_to_elsewhere_are_followed(tmp_path):
    touch(tmp_path, 'else/a.png', 'data/b.png')
    (tmp_path / 'data/link').symlink_to('../else')
    (tmp_path / 'data/c.png').symlink_to('../else/a.png')
    assert names(tmp_path / 'data') == ['b.png', 'c.png', 'link/a.png']


def test_a_link_to_itself(tmp_path):
    touch(tmp_path, 'a.png')
    (tmp_path / 'loop').symlink_to('loop')
    assert names(tmp_path) == ['a.png']


@pytest.mark.parametrize('target', ['nothing', 'b.png'])
def test_links_to_nothing(tmp_path, target):
    (tmp_path / 'b.png').symlink_to(target)
    with pytest.raises(InputError, match='is a link that leads nowhere; repl'):
        list_images(tmp_path)


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    with pytest.raises(InputError, match=r'a\.png" is not a regular file'):
        list_images(tmp_path)


def test_folder_that_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path, 'a/b.png')
    scan = os.scandir

    def refuse(path):
        if str(path).endswith('a'):
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(InputError, match=r'/a" cannot be read \(Permission'):
        list_images(tmp_path, recursive=True)


@pytest.mark.parametrize(
    'name', ['', '.', '..', 'a/b', '/a', 'a\\b', 'a\0b', '../a', None, 3])
def test_plain_name(name):
    assert require_plain_name('a.b c', 'it') == 'a.b c'
    with pytest.raises(InputError, match='it must be a plain name'):
        require_plain_name(name, 'it')


@pytest.mark.parametrize('name', [
    '', None, '/etc/passwd', '../a', 'a/../../b', 'a/..', '//a', 'C:/a',
    'a\\..\\b', 'a\0'
])
def test_path_below(tmp_path, name):
    assert join_below(tmp_path, 'a/b.png', 'it') == tmp_path / 'a/b.png'
    with pytest.raises(InputError, match='it must be a relative path below'):
        join_below(tmp_path, name, 'it')


@pytest.mark.parametrize('folder', ['.', 'a', 'a//b/', './a', '', 'none'])
@pytest.mark.parametrize('recursive', [True, False])
def test_names_are_those_of_paths(tmp_path, monkeypatch, folder, recursive):
    (tmp_path / 'a/b').mkdir(parents=True)
    for name in ('x.png', 'a/x.png', 'a/b.png', 'a/b/x.png', 'a/b/y.txt'):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for given in (folder, Path(folder), tmp_path / folder):
        found, skipped = find_names(given, recursive)
        left_out = [path for paths in skipped.values() for path in paths]
        images, others = (
            sorted(str(path) for path in Path(given).rglob(f'*.{suffix}'))
            for suffix in ('png', 'txt'))
        deeper = [path for path in images if Path(path).parent != Path(given)]
        if recursive:
            assert (found, left_out) == (images, others)
        else:
            assert sorted(found + deeper) == images
            assert set(deeper) <= set(left_out)
        assert found or folder == 'none'
