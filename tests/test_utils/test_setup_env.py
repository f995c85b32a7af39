import os

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.registry import DefaultScope

from mmad.errors import InputError
from mmad.utils import setup_environment
from mmad.utils.atomic_files import AtomicLocalBackend


@pytest.fixture
def groups(monkeypatch):
    made = []
    monkeypatch.setattr(os, 'environ', dict(os.environ))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group', made.append)
    return made


def test_alone(groups):
    setup_environment()
    assert groups == []
    assert DefaultScope.get_current_instance().scope_name == 'mmad'
    assert isinstance(get_file_backend('/tmp'), AtomicLocalBackend)


@pytest.mark.parametrize(('launcher', 'given'), [
    ('pytorch',
     dict(
         RANK='3',
         WORLD_SIZE='4',
         LOCAL_RANK='1',
         MASTER_ADDR='127.0.0.1',
         MASTER_PORT='29501')),
    ('slurm', dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1')),
    ('mpi',
     dict(
         OMPI_COMM_WORLD_RANK='3',
         OMPI_COMM_WORLD_SIZE='4',
         OMPI_COMM_WORLD_LOCAL_RANK='1')),
])
def test_launchers(groups, launcher, given):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT'):
        os.environ.pop(name, None)
    os.environ.update(given)
    setup_environment(launcher)
    assert groups == ['gloo']
    for name, value in (('RANK', '3'), ('WORLD_SIZE', '4'), ('LOCAL_RANK',
                                                             '1')):
        assert os.environ[name] == value
    if launcher != 'pytorch':
        assert os.environ['MASTER_PORT'] == '29500'


def test_nothing_over_an_existing_group(groups, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    setup_environment('pytorch')
    assert groups == []


def test_mmengine_sets_up_cuda(groups, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    os.environ.update(
        RANK='0', WORLD_SIZE='1', MASTER_ADDR='host', MASTER_PORT='29501')
    setup_environment('pytorch')
    assert groups == []


@pytest.mark.parametrize('has_cuda', [False, True])
@pytest.mark.parametrize(('launcher', 'given'), [
    ('pytorch',
     dict(
         RANK='0',
         WORLD_SIZE='1',
         MASTER_ADDR='127.0.0.1',
         MASTER_PORT='29501')),
    ('slurm', dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0')),
    ('mpi',
     dict(
         OMPI_COMM_WORLD_RANK='0',
         OMPI_COMM_WORLD_SIZE='1',
         OMPI_COMM_WORLD_LOCAL_RANK='0')),
])
def test_a_launcher_that_has_not_started_this(groups, monkeypatch, launcher,
                                              given, has_cuda):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_cuda)
    for lost in given:
        for value in (None, '', 'x'):
            os.environ.update(given)
            os.environ.pop(lost)
            if value is not None and lost != 'MASTER_ADDR':
                os.environ[lost] = value
            with pytest.raises(InputError, match=f'--launcher.*{lost}'):
                setup_environment(launcher)
    assert groups == []


def test_processes_that_do_not_find_each_other(groups, monkeypatch):
    os.environ.update(
        RANK='0', WORLD_SIZE='1', MASTER_ADDR='host', MASTER_PORT='29501')

    def fail(backend):
        raise torch.distributed.DistNetworkError('port in\nuse')

    monkeypatch.setattr(torch.distributed, 'init_process_group', fail)
    with pytest.raises(InputError, match=r'host:29501.*\(port in use\)'):
        setup_environment('pytorch')
