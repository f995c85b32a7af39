import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from config_texts import PADIM, SPADE
from process_group import free_port

from mmad.utils import load_checkpoint

TOOLS = Path(__file__).resolve().parents[1] / 'tools'
CATEGORY = ('--category', 'bottle')


@pytest.fixture(scope='module')
def alone(run_tool, config, tmp_path_factory):
    """Work dir of a training of 7 images by one process."""
    folder = tmp_path_factory.mktemp('alone')
    result = run_tool(folder, 'train.py', config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder / 'work'


@pytest.fixture
def launch(start_tool, tmp_path):
    """Run a tool as so many processes, as torchrun would."""

    def run(world, *args):
        port = free_port()
        processes = [
            start_tool(
                tmp_path,
                *args,
                '--launcher',
                'pytorch',
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(world),
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=port) for rank in range(world)
        ]
        for process in processes:
            process.join()
        return [(process.exitcode, (tmp_path / f'stderr{rank}').read_text())
                for rank, process in enumerate(processes)]

    return run


def assert_same(work_dir, alone, name='epoch_1.pth'):
    states = [
        load_checkpoint(str(folder / name))['state_dict']
        for folder in (work_dir, alone)
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name
    assert_same_metrics(work_dir, alone)


def assert_same_metrics(work_dir, alone):
    assert (work_dir /
            'metrics.json').read_text() == (alone /
                                            'metrics.json').read_text()


@pytest.mark.parametrize('world', [2, 3, 4])
def test_train(launch, config, alone, tmp_path, world):
    ends = launch(world, 'train.py', config, *CATEGORY, '--work-dir',
                  tmp_path / 'work')
    assert [status for status, _ in ends] == [0] * world, ends
    assert_same(tmp_path / 'work', alone)


@pytest.mark.parametrize(('text', 'checkpoint'), [(PADIM, 'epoch_2.pth'),
                                                  (SPADE, 'epoch_1.pth')])
def test_train_other_methods(run_tool, launch, config, tmp_path, text,
                             checkpoint):
    path = tmp_path / 'method.py'
    path.write_text(text.format(base=config))
    args = ('train.py', path, *CATEGORY, '--work-dir')
    result = run_tool(tmp_path, *args, tmp_path / '1')
    assert result.status == 0, result.err
    for world in (2, 3, 4):
        folder = tmp_path / str(world)
        ends = launch(world, *args, folder)
        assert [status for status, _ in ends] == [0] * world, ends
        assert_same(folder, tmp_path / '1', checkpoint)


ENSEMBLE = """
_base_ = '{base}'
backbone = dict(type='DemoBackbone', stages=['layer1', 'layer2'])
model = dict(
    _delete_=True,
    type='Ensemble',
    data_preprocessor={{{{_base_.model.data_preprocessor}}}},
    members=[
        dict(type='PatchCore', backbone=backbone, coreset_ratio=0.02),
        dict(type='PaDiM', backbone=backbone, reduction='pca', dim=8),
    ])
del backbone
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


def test_train_an_ensemble(run_tool, launch, config, tmp_path):
    path = tmp_path / 'ensemble.py'
    path.write_text(ENSEMBLE.format(base=config))
    args = ('train.py', path, *CATEGORY, '--work-dir')
    result = run_tool(tmp_path, *args, tmp_path / '1')
    assert result.status == 0, result.err
    assert 'Member 1, PaDiM on DemoBackbone' in result.out
    tested = run_tool(tmp_path, 'test.py', path, tmp_path / '1/epoch_2.pth',
                      *CATEGORY, '--work-dir', tmp_path / 'tested')
    assert tested.status == 0, tested.err
    assert_same_metrics(tmp_path / 'tested', tmp_path / '1')
    ends = launch(2, *args, tmp_path / '2')
    assert [status for status, _ in ends] == [0, 0], ends
    assert_same(tmp_path / '2', tmp_path / '1', 'epoch_2.pth')


@pytest.mark.parametrize(('name', 'world'), [('mkd_config', 2),
                                             ('fyd_config', 2),
                                             ('fyd_config', 3),
                                             ('fyd_config', 4)])
def test_train_by_gradients(run_tool, launch, request, name, world, tmp_path):
    config = request.getfixturevalue(name)
    ends = launch(world, 'train.py', config, *CATEGORY, '--work-dir', 'work')
    assert [status for status, _ in ends] == [0] * world, ends
    # Most of these figures are of the other processes, whose networks must be
    # the one that was saved.
    result = run_tool(tmp_path, 'test.py', config,
                      tmp_path / 'work' / 'epoch_4.pth', *CATEGORY,
                      '--work-dir', 'alone')
    assert result.status == 0, result.err
    assert_same_metrics(tmp_path / 'work', tmp_path / 'alone')


@pytest.mark.parametrize('order', ['together', 'sequence'])
def test_train_students(run_tool, launch, students_config, tmp_path, order):
    options = []
    if order == 'sequence':
        options = [
            '--cfg-options', 'find_unused_parameters=True',
            'default_hooks.order.type=ScaleSequenceHook',
            'train_cfg.val_interval=4'
        ]
    ends = launch(2, 'train.py', students_config, *CATEGORY, '--work-dir',
                  'work', *options)
    assert [status for status, _ in ends] == [0, 0], ends
    result = run_tool(tmp_path, 'test.py', students_config,
                      tmp_path / 'work' / 'epoch_4.pth', *CATEGORY,
                      '--work-dir', 'alone')
    assert result.status == 0, result.err
    assert_same_metrics(tmp_path / 'work', tmp_path / 'alone')


def test_test(launch, config, alone, tmp_path):
    ends = launch(3, 'test.py', config, alone / 'epoch_1.pth', *CATEGORY,
                  '--work-dir', tmp_path / 'work', '--show-dir',
                  tmp_path / 'maps')
    assert [status for status, _ in ends] == [0] * 3, ends
    assert_same_metrics(tmp_path / 'work', alone)
    assert len(list(tmp_path.glob('maps/*/*.png'))) == 8


def script(folder, name, *args):
    return subprocess.run(['bash', TOOLS / name, *map(str, args)],
                          capture_output=True,
                          text=True,
                          cwd=folder,
                          check=False,
                          env=dict(
                              os.environ,
                              PYTHON=sys.executable,
                              MASTER_PORT=free_port(),
                              PYTHONPATH=str(TOOLS.parent),
                              OMP_NUM_THREADS='1'))


@pytest.mark.slow
@pytest.mark.parametrize('world', [2, 3])
def test_dist_train_script(config, alone, tmp_path, world):
    result = script(tmp_path, 'dist_train.sh', config, world, *CATEGORY,
                    '--work-dir', 'work')
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path / 'work', alone)


@pytest.mark.slow
def test_dist_test_script(config, alone, tmp_path):
    result = script(tmp_path, 'dist_test.sh', config, alone / 'epoch_1.pth', 2,
                    *CATEGORY, '--work-dir', 'work')
    assert result.returncode == 0, result.stderr
    assert_same_metrics(tmp_path / 'work', alone)


@pytest.mark.parametrize(('name', 'args', 'command'), [
    ('dist_train.sh', ['c.py', '4', '--amp'],
     '-m torch.distributed.run --nnodes=2 --node_rank=1 --master_addr=host '
     '--master_port=7 --nproc_per_node=4 {tools}/train.py c.py '
     '--launcher pytorch --amp'),
    ('dist_test.sh', ['c.py', 'a.pth', '4', '--show-dir', 'a b'],
     '-m torch.distributed.run --nnodes=2 --node_rank=1 --master_addr=host '
     '--master_port=7 --nproc_per_node=4 {tools}/test.py c.py a.pth '
     '--launcher pytorch --show-dir a b'),
    ('slurm_train.sh', ['part', 'job', 'c.py', '--amp'],
     '-p part --job-name=job --gres=gpu:4 --ntasks=6 --ntasks-per-node=4 '
     '--cpus-per-task=3 --kill-on-bad-exit=1 --qos=x python -u '
     '{tools}/train.py c.py --amp --launcher slurm'),
    ('slurm_test.sh', ['part', 'job', 'c.py', 'a.pth'],
     '-p part --job-name=job --gres=gpu:4 --ntasks=6 --ntasks-per-node=4 '
     '--cpus-per-task=3 --kill-on-bad-exit=1 --qos=x python -u '
     '{tools}/test.py c.py a.pth --launcher slurm'),
])
def test_command_of_the_script(tmp_path, name, args, command):
    for fake in ('python', 'srun'):
        (tmp_path / fake).write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / fake).chmod(0o755)
    result = subprocess.run(['bash', TOOLS / name, *args],
                            capture_output=True,
                            text=True,
                            check=False,
                            env=dict(
                                PATH=f'{tmp_path}:{os.environ["PATH"]}',
                                NNODES='2',
                                NODE_RANK='1',
                                MASTER_ADDR='host',
                                MASTER_PORT='7',
                                GPUS='6',
                                GPUS_PER_NODE='4',
                                CPUS_PER_TASK='3',
                                SRUN_ARGS='--qos=x'))
    assert result.stdout.strip() == command.format(tools=TOOLS)


@pytest.mark.parametrize(('name', 'args'),
                         [('dist_train.sh', []), ('dist_train.sh', ['c.py']),
                          ('dist_train.sh', ['c.py', 'x']),
                          ('dist_train.sh', ['c.py', '0']),
                          ('dist_train.sh', ['c.py', '--amp', '2']),
                          ('dist_test.sh', ['c.py']),
                          ('dist_test.sh', ['c.py', 'a.pth']),
                          ('dist_test.sh', ['c.py', '2', 'a.pth'])])
def test_scripts_without_a_number_of_processes(name, args):
    result = subprocess.run(['bash', TOOLS / name, *args],
                            capture_output=True,
                            text=True,
                            check=False,
                            env=dict(PATH='/bin:/usr/bin', PYTHON='false'))
    assert result.returncode == 2
    assert result.stderr.startswith(f'error: usage: {name} CONFIG')
    assert result.stderr.count('\n') == 1


def test_resume_with_fewer_processes(launch, mkd_config, tmp_path):
    args = ('train.py', mkd_config, *CATEGORY, '--work-dir', 'work')
    for world, options in ((2, ('--cfg-options', 'train_cfg.max_epochs=2')),
                           (1, ('--resume', ))):
        ends = launch(world, *args, *options)
        assert [status for status, _ in ends] == [0] * world, ends
    state = load_checkpoint(str(tmp_path / 'work' / 'epoch_4.pth'))
    assert state['meta']['epoch'] == 4
