import gc
import os
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.fileio import get_file_backend
from mmengine.registry import DefaultScope
from process_group import free_port

from mmad.errors import InputError
from mmad.utils import setup_env, setup_environment
from mmad.utils.atomic_files import AtomicLocalBackend


@pytest.fixture
def watches(monkeypatch):
    """What each process watch is made with; nobody connects."""
    made = []

    def rendezvous(url, timeout):
        yield 'store', int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])

    monkeypatch.setattr(torch.distributed, 'rendezvous', rendezvous)
    monkeypatch.setattr(setup_env, '_watch', None)
    monkeypatch.setattr(setup_env, 'ProcessWatch',
                        lambda *args: made.append(args))
    return made


@pytest.fixture
def groups(monkeypatch, watches):
    """What each process group is initialized with."""
    made = []

    def initialize(backend, **options):
        made.append((backend, options))

    monkeypatch.setattr(os, 'environ', dict(os.environ))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group', initialize)
    return made


@pytest.mark.parametrize(('launcher', 'names'), [
    ('slurm',
     dict(
         SLURM_PROCID='3',
         SLURM_NTASKS='4',
         SLURM_LOCALID='1',
         SLURM_NNODES='2')),
    ('mpi',
     dict(
         OMPI_COMM_WORLD_RANK='3',
         OMPI_COMM_WORLD_SIZE='4',
         OMPI_COMM_WORLD_LOCAL_RANK='1',
         OMPI_COMM_WORLD_LOCAL_SIZE='2')),
])
def test_several_nodes_that_do_not_know_the_first(groups, watches, launcher,
                                                  names):
    os.environ.update(names)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR',
                 'SLURM_NODELIST'):
        os.environ.pop(name, None)
    with pytest.raises(InputError, match='set MASTER_ADDR in the environment'):
        setup_environment(launcher)
    assert not groups
    assert not watches
    os.environ['MASTER_ADDR'] = 'node0'
    setup_environment(launcher)
    assert watches[0][3] == 'node0'


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
def test_launchers(groups, watches, launcher, given):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT'):
        os.environ.pop(name, None)
    os.environ.update(given)
    setup_environment(launcher)
    [(backend, options)] = groups
    assert backend == 'gloo'
    assert (options['rank'], options['world_size']) == (3, 4)
    assert options['timeout'] == timedelta(hours=2)
    assert watches == [('store', 3, 4, '127.0.0.1', 300.0)]
    for name, value in (('RANK', '3'), ('WORLD_SIZE', '4'), ('LOCAL_RANK',
                                                             '1')):
        assert os.environ[name] == value
    if launcher != 'pytorch':
        assert os.environ['MASTER_PORT'] == '29500'


def test_timeouts_of_the_config(groups, watches):
    os.environ.update(
        RANK='0', WORLD_SIZE='2', MASTER_ADDR='host', MASTER_PORT='29501')
    setup_environment('pytorch',
                      dict(dist_timeout=7, dist_cfg=dict(timeout=8)))
    assert groups[0][1]['timeout'] == timedelta(seconds=8)
    assert watches == [('store', 0, 2, 'host', 7.0)]


@pytest.mark.parametrize('value', [0, -1, 'x', None, float('inf')])
@pytest.mark.parametrize('name', ['dist_timeout', 'dist_cfg.timeout'])
def test_wrong_timeouts(groups, watches, name, value):
    os.environ.update(
        RANK='0', WORLD_SIZE='2', MASTER_ADDR='host', MASTER_PORT='29501')
    env_cfg = (
        dict(dist_timeout=value) if name == 'dist_timeout' else dict(
            dist_cfg=dict(timeout=value)))
    with pytest.raises(InputError, match=f'env_cfg.{name}` must be'):
        setup_environment('pytorch', env_cfg)
    assert groups == watches == []


def test_one_process_is_not_watched(groups, watches):
    os.environ.update(
        RANK='0', WORLD_SIZE='1', MASTER_ADDR='host', MASTER_PORT='29501')
    setup_environment('pytorch')
    assert watches == []
    assert len(groups) == 1


@pytest.mark.parametrize(
    ('given', 'scontrol', 'expected'),
    [(dict(), None, '127.0.0.1'),
     (dict(SLURM_NODELIST='node[3-4]'), None, '127.0.0.1'),
     (dict(SLURM_NODELIST='node[3-4]'), 'echo node3; echo node4', 'node3'),
     (dict(SLURM_NODELIST='node[3-4]'), 'false', '127.0.0.1'),
     (dict(SLURM_NODELIST='x', MASTER_ADDR='y'), 'echo z', 'y')])
def test_address_in_a_slurm_job(groups, watches, tmp_path, given, scontrol,
                                expected):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'):
        os.environ.pop(name, None)
    os.environ.update(
        given, SLURM_PROCID='1', SLURM_NTASKS='2', SLURM_LOCALID='0')
    if scontrol is not None:
        (tmp_path / 'scontrol').write_text(f'#!/bin/sh\n{scontrol}\n')
        (tmp_path / 'scontrol').chmod(0o755)
        os.environ['PATH'] = f'{tmp_path}:{os.environ["PATH"]}'
    setup_environment('slurm')
    assert watches == [('store', 1, 2, expected, 300.0)]


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

    def fail(backend, **options):
        raise torch.distributed.DistNetworkError('port in\nuse')

    monkeypatch.setattr(torch.distributed, 'init_process_group', fail)
    with pytest.raises(InputError, match=r'host:29501.*\(port in use\)'):
        setup_environment('pytorch')


def make_group_later(rank, port):
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE='3',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=port)
    torch.cuda.is_available = lambda: True
    setup_environment('pytorch', dict(dist_timeout=60))
    assert not torch.distributed.is_initialized()
    gc.collect()
    # As MMEngine does it, if for another back end.
    torch.distributed.init_process_group('gloo')
    number = torch.tensor(rank)
    torch.distributed.all_reduce(number)
    assert number == 3
    setup_env.leave_processes()
    assert not torch.distributed.is_initialized()


def test_mmengine_makes_its_group_later():
    mp.start_processes(
        make_group_later, (free_port(), ), 3, start_method='fork')


SCRIPT = """
import sys, time
from mmad.utils import setup_environment
setup_environment('pytorch', dict(dist_timeout=60))
rank = int(sys.argv[1])
if {fails} and rank:
    raise ArithmeticError('of this script')
time.sleep(60 if {fails} else rank)
"""


@pytest.mark.parametrize('fails', [False, True])
def test_scripts_need_no_call_at_their_end(tmp_path, fails):
    port = free_port()
    path = tmp_path / 'script.py'
    path.write_text(SCRIPT.format(fails=fails))
    processes = [
        subprocess.Popen(
            [sys.executable, path, str(rank)],
            stderr=subprocess.PIPE,
            text=True,
            env=dict(
                os.environ,
                PYTHONPATH=os.pathsep.join(sys.path),
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE='2',
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=port)) for rank in range(2)
    ]
    said = [process.communicate()[1] for process in processes]
    assert [p.returncode for p in processes] == [int(fails)] * 2, said
    assert said[0].startswith('error: process 1 of 2') == fails
    if fails:
        assert 'failed: ArithmeticError: of this script, so' in said[0]
        assert said[1].endswith('ArithmeticError: of this script\n')
    else:
        assert said == ['', '']
