"""Two nodes that share a network and no folder."""
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from config_texts import PADIM, SPADE

from mmad.utils import load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
DUMPING = """
val_evaluator = test_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric'),
    dict(type='DumpResults', out_file_path='all.pkl'),
]
"""


def ip(*args):
    return subprocess.run(['ip', *args],
                          capture_output=True,
                          text=True,
                          check=False)


@pytest.fixture
def nodes():
    """Two network namespaces with a cable in between."""
    if shutil.which('ip') is None:
        pytest.skip('needs the command `ip` of iproute2')
    # Of this test alone, and short enough for a network card.
    names = [f'mmad{os.getpid()}{side}' for side in 'ab']
    steps = [('netns', 'add', name) for name in names]
    steps.append(
        ('link', 'add', names[0], 'type', 'veth', 'peer', 'name', names[1]))
    for number, name in enumerate(names):
        inside = ('-n', name)
        steps += [
            ('link', 'set', name, 'netns', name),
            (*inside, 'addr', 'add', f'10.213.7.{number + 1}/24', 'dev', name),
            (*inside, 'link', 'set', name, 'up'),
            (*inside, 'link', 'set', 'lo', 'up'),
        ]
    try:
        for step in steps:
            result = ip(*step)
            if result.returncode:
                pytest.skip('network namespaces are not allowed here: '
                            f'{result.stderr.strip()}')
        yield [
            SimpleNamespace(name=name, address='10.213.7.1') for name in names
        ]
    finally:
        # The cable ends with its namespaces.
        ip('link', 'delete', names[0])
        for name in names:
            ip('netns', 'delete', name)


def start(node, folder, rank, local_rank, launcher, world, *args):
    """Start a process on a node, as its launcher would."""
    numbers = dict(
        pytorch=dict(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=local_rank),
        slurm=dict(
            SLURM_PROCID=rank, SLURM_NTASKS=world, SLURM_LOCALID=local_rank),
        mpi=dict(
            OMPI_COMM_WORLD_RANK=rank,
            OMPI_COMM_WORLD_SIZE=world,
            OMPI_COMM_WORLD_LOCAL_RANK=local_rank))[launcher]
    return run_on(node, folder, f'log{rank}', sys.executable,
                  str(ROOT / 'tools' / args[0]), *args[1:], '--launcher',
                  launcher, **{
                      name: str(number)
                      for name, number in numbers.items()
                  })


def run_on(node, folder, log, *command, **env):
    return subprocess.Popen(['ip', 'netns', 'exec', node.name, *command],
                            cwd=folder,
                            stdout=(folder / log).open('w'),
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                            env=dict(
                                os.environ,
                                PYTHONPATH=str(ROOT),
                                OMP_NUM_THREADS='1',
                                MASTER_ADDR=node.address,
                                MASTER_PORT='29513',
                                GLOO_SOCKET_IFNAME=node.name,
                                **env))


@pytest.fixture
def places(mvtec_root, tmp_path):
    """Folders of one process alone and of two nodes, each with the data."""
    places = [tmp_path / name for name in ('alone', 'node0', 'node1')]
    for place in places:
        shutil.copytree(mvtec_root, place / 'data')
    return places


@pytest.fixture
def run_on_both(nodes, places):
    """Run a tool on both nodes: status and log of each process."""

    def run(launcher, per_node, *args):
        return wait(places, [
            start(node, place, per_node * number + local, local, launcher,
                  2 * per_node, *args)
            for number, (node, place) in enumerate(zip(nodes, places[1:]))
            for local in range(per_node)
        ])

    return run


def wait(places, processes):
    try:
        ends = [process.wait(600) for process in processes]
    finally:
        for process in processes:
            # Those that torchrun has started, too.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    logs = [
        path.read_text()[-2000:] for place in places[1:]
        for path in sorted(place.glob('log*'))
    ]
    return ends, '\n'.join(logs)


def assert_same(places, name):
    metrics, expected = (
        json.loads((place / 'work' / 'metrics.json').read_text())
        for place in (places[1], places[0]))
    assert metrics == expected
    states = [
        load_checkpoint(str(place / 'work' / name))['state_dict']
        for place in (places[1], places[0])
    ]
    assert all(
        (states[0][name] == states[1][name]).all() for name in states[1])


ARGS = ('tiny.py', '--category', 'bottle', '--work-dir')


@pytest.mark.slow
@pytest.mark.parametrize(('launcher', 'per_node'), [('pytorch', 1),
                                                    ('slurm', 1), ('mpi', 2)])
def test_fit_and_validation(run_on_both, places, run_tool, config, mvtec_root,
                            launcher, per_node):
    for place in places:
        (place / 'tiny.py'
         ).write_text(config.read_text().replace(str(mvtec_root), 'data') +
                      DUMPING)
    result = run_tool(places[0], 'train.py', *ARGS, 'work')
    assert result.status == 0, result.err
    ends, logs = run_on_both(launcher, per_node, 'train.py', *ARGS, 'work')
    assert ends == [0] * len(ends), logs
    assert_same(places, 'epoch_1.pth')
    # Nor do the metrics of another package exchange files.
    assert not list(places[0].parent.glob('**/.dist_test'))
    assert (places[1] / 'all.pkl').is_file()


@pytest.mark.slow
@pytest.mark.parametrize(('text', 'checkpoint'), [(PADIM, 'epoch_2.pth'),
                                                  (SPADE, 'epoch_1.pth')])
def test_fit_by_torchrun_and_test(nodes, run_on_both, places, run_tool, config,
                                  mvtec_root, text, checkpoint):
    for place in places:
        (place / 'base.py').write_text(config.read_text().replace(
            str(mvtec_root), 'data'))
        (place / 'tiny.py').write_text(text.format(base='base.py'))
    result = run_tool(places[0], 'train.py', *ARGS, 'work')
    assert result.status == 0, result.err
    ends, logs = wait(places, [
        run_on(
            node,
            place,
            'log',
            'bash',
            str(ROOT / 'tools' / 'dist_train.sh'),
            ARGS[0],
            '2',
            *ARGS[1:],
            'work',
            PYTHON=sys.executable,
            NNODES='2',
            NODE_RANK=str(number))
        for number, (node, place) in enumerate(zip(nodes, places[1:]))
    ])
    assert ends == [0, 0], logs
    assert_same(places, checkpoint)
    # Written on the first node alone.
    assert not list(places[2].glob('**/*.pth'))

    test = ('test.py', ARGS[0], f'work/{checkpoint}', *ARGS[1:], 'test')
    (places[2] / 'work').mkdir(exist_ok=True)
    shutil.copy(places[1] / 'work' / checkpoint, places[2] / 'work')
    ends, logs = run_on_both('pytorch', 1, *test)
    assert ends == [0, 0], logs
    found, expected = ((places[1] / folder / 'metrics.json').read_text()
                       for folder in ('test', 'work'))
    assert found == expected

    # An older copy of the data.
    (places[2] / 'data' / 'bottle' / 'test' / 'good' / '000.png').unlink()
    ends, logs = run_on_both('pytorch', 1, *test)
    # One of them may be ended by the other before it has left by itself.
    assert sorted(ends) in ([1, 2], [2, 2]), logs
    assert logs.count('`test_dataloader.dataset` is 7 images') >= 2
