import functools
import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmad.errors import InputError
from mmad.models.backbones.base import read_weights
from mmad.models.teachers.load_teacher import find_teacher
from mmad.utils import load_checkpoint
from mmad.utils.checkpoint import register_safe_loader
from mmad.utils.remote_files import find_checkpoint


class Bomb:

    def __init__(self, run):
        self.run = run

    def __reduce__(self):
        return os.system, (f'touch {self.run}', )


class _Quiet(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder and its URL; what is downloaded goes into another one."""
    folder = tmp_path / 'served'
    folder.mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('no_proxy', '*')
    with http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(_Quiet,
                                            directory=str(folder))) as running:
        thread = threading.Thread(
            target=running.serve_forever, args=(0.01, ), daemon=True)
        thread.start()
        yield folder, f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


@pytest.fixture
def names(server, monkeypatch):
    """All ways to name a file that the server has, or the same locally."""
    folder, url = server
    zoo = dict(model=f'{url}/a.pth')
    for table in ('torchvision', 'external', 'mmcls'):
        monkeypatch.setattr(mmengine_checkpoint, f'get_{table}_models',
                            lambda: zoo)
    return {
        'path': str(folder / 'a.pth'),
        'file': (folder / 'a.pth').as_uri(),
        'localhost': f'file://localhost{folder}/a.pth',
        'http': f'{url}/a.pth',
        'upper': f'HTTP{url[4:]}/a.pth',
        'query': f'{url}/a.pth?download=1',
        **{
            zoo: f'{zoo}://model'
            for zoo in NAMES[-5:]
        },
    }


NAMES = ('path', 'file', 'localhost', 'http', 'upper', 'query', 'torchvision',
         'modelzoo', 'openmmlab', 'open-mmlab', 'mmcls')
READERS = dict(
    ours=load_checkpoint,
    mmengine=lambda name: CheckpointLoader.load_checkpoint(
        name, map_location='cpu'))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('reader', READERS)
def test_every_name_is_read_safely(server, names, tmp_path, name, reader):
    register_safe_loader()
    torch.save(
        dict(state_dict=dict(x=Bomb(tmp_path / 'run'))), server[0] / 'a.pth')
    with pytest.raises(InputError, match='was refused') as caught:
        READERS[reader](names[name])
    assert names[name] in str(caught.value)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('name', NAMES)
def test_every_name_is_read(server, names, name):
    key = 'backbone.x' if name == 'mmcls' else 'x'
    torch.save(dict(state_dict={key: torch.ones(2)}), server[0] / 'a.pth')
    for _ in range(2):  # the second time without a download
        state = load_checkpoint(names[name])
        assert torch.equal(state['state_dict']['x'], torch.ones(2))
    if name != 'mmcls':
        assert read_weights(names[name]).keys() == {'x'}
    assert find_teacher(names[name]).is_file()


@pytest.mark.parametrize('name', [
    's3://bucket/a.pth',
    'petrel://bucket/a.pth',
    'a:s3://bucket/a.pth',
    'pavi://a.pth',
    'ftp://127.0.0.1/a.pth',
    'data://x',
    '://',
    'x://',
    'file://elsewhere/a.pth',
    'torchvision://none',
    'mmcls://../a.pth',
    'openmmlab://',
    'http://',
    'https://127.0.0.1:1/a.pth',
    'http://[/a.pth',
    'file://[/a.pth',
    'http://127.0.0.1:x/a.pth',
    'http://a b/c.pth',
])
def test_what_cannot_be_fetched(name, server):
    register_safe_loader()
    for read in (load_checkpoint, CheckpointLoader.load_checkpoint,
                 read_weights, find_teacher):
        with pytest.raises(InputError) as caught:
            read(name)
        assert '\n' not in str(caught.value)


def test_every_scheme_of_mmengine_is_replaced():
    register_safe_loader()
    loaders = set(CheckpointLoader._schemes.values())
    assert len(loaders) == 1
    assert loaders.pop().__module__ == 'mmad.utils.checkpoint'


def test_missing_on_the_server(server):
    with pytest.raises(
            InputError,
            match=r'none\.pth" cannot be downloaded '
            r'\(HTTP Error 404.*give its path\.$'):
        load_checkpoint(f'{server[1]}/none.pth')


def test_same_name_elsewhere(server):
    folder, url = server
    for number in (1, 2):
        (folder / str(number)).mkdir()
        torch.save(
            dict(x=torch.tensor(number)), folder / str(number) / 'epoch_1.pth')
    for number in (1, 2):
        assert load_checkpoint(f'{url}/{number}/epoch_1.pth')['x'] == number


def test_hash_in_the_name(server, monkeypatch):
    folder, url = server
    monkeypatch.setattr('mmad.utils.remote_files._SHARED', (url, ))
    torch.save(dict(x=torch.ones(1)), folder / 'a-0123456789.pth')
    with pytest.raises(InputError, match='invalid hash value'):
        load_checkpoint(f'{url}/a-0123456789.pth')
    # As torchvision puts it there.
    path = Path(torch.hub.get_dir(), 'checkpoints', 'a-0123456789.pth')
    torch.save(dict(x=torch.ones(1)), path)
    assert find_checkpoint(f'{url}/a-0123456789.pth') == path


def test_a_stranger_takes_no_name_in_the_cache(server):
    folder, url = server
    torch.save(dict(x=torch.ones(1)), folder / 'a.pth')
    digest = hashlib.sha256((folder / 'a.pth').read_bytes()).hexdigest()
    name = f'resnet18-{digest[:8]}.pth'
    (folder / 'a.pth').rename(folder / name)
    path = find_checkpoint(f'{url}/{name}')
    assert path.is_file()
    assert path.name != name
    assert not path.with_name(name).exists()


@pytest.mark.parametrize(
    'target', ['file:///etc/hostname', 'data:,x', 'gopher://127.0.0.1/x'])
def test_no_redirection_to_a_file(server, monkeypatch, target):

    def redirect(self):
        self.send_response(302)
        self.send_header('Location', target)
        self.end_headers()

    monkeypatch.setattr(_Quiet, 'do_GET', redirect)
    with pytest.raises(InputError, match='cannot be downloaded'):
        load_checkpoint(f'{server[1]}/a.pth')


def test_a_name_that_is_too_long(server):
    for name in (f'{server[1]}/{"a" * 5000}', 'a' * 5000, '/' + 'a' * 5000):
        with pytest.raises(InputError):
            load_checkpoint(name)


def test_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save(dict(x=torch.ones(1)), tmp_path / 'a.pth')
    assert load_checkpoint('~/a.pth').keys() == {'x'}
    with pytest.raises(InputError, match='does not exist'):
        load_checkpoint('~no_such_user/a.pth')


def test_no_ordinary_file(tmp_path):
    os.mkfifo(tmp_path / 'a.pth')
    with pytest.raises(InputError, match='not a regular file'):
        load_checkpoint(tmp_path / 'a.pth')
