"""Two nodes that share a network and no folder."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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


def start(node, folder, rank, local_rank, world, *args):
    log = (folder / f'log{rank}').open('w')
    return subprocess.Popen([
        'ip', 'netns', 'exec', node.name, sys.executable,
        str(ROOT / 'tools' / 'train.py'), *args, '--launcher', 'pytorch'
    ],
                            cwd=folder,
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            env=dict(
                                os.environ,
                                PYTHONPATH=str(ROOT),
                                OMP_NUM_THREADS='1',
                                RANK=str(rank),
                                LOCAL_RANK=str(local_rank),
                                WORLD_SIZE=str(world),
                                MASTER_ADDR=node.address,
                                MASTER_PORT='29513',
                                GLOO_SOCKET_IFNAME=node.name))


@pytest.mark.slow
@pytest.mark.parametrize('per_node', [1, 2])
def test_fit_and_validation(nodes, run_tool, config, mvtec_root, tmp_path,
                            per_node):
    text = config.read_text().replace(str(mvtec_root), 'data') + DUMPING
    places = [tmp_path / name for name in ('alone', 'node0', 'node1')]
    for place in places:
        shutil.copytree(mvtec_root, place / 'data')
        (place / 'tiny.py').write_text(text)
    args = ('tiny.py', '--category', 'bottle', '--work-dir', 'work')
    result = run_tool(places[0], 'train.py', *args)
    assert result.status == 0, result.err

    world = 2 * per_node
    processes = [
        start(node, place, per_node * number + local, local, world, *args)
        for number, (node, place) in enumerate(zip(nodes, places[1:]))
        for local in range(per_node)
    ]
    try:
        ends = [process.wait(300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    logs = [
        path.read_text()[-2000:]
        for path in sorted(tmp_path.glob('node*/log*'))
    ]
    assert ends == [0] * world, '\n'.join(logs)
    metrics, expected = (
        json.loads((place / 'work' / 'metrics.json').read_text())
        for place in (places[1], places[0]))
    assert metrics == expected
    states = [
        load_checkpoint(str(place / 'work' / 'epoch_1.pth'))['state_dict']
        for place in (places[1], places[0])
    ]
    assert all(
        (states[0][name] == states[1][name]).all() for name in states[1])
    # Nor do the metrics of another package exchange files.
    assert not list(tmp_path.glob('**/.dist_test'))
    assert (places[1] / 'all.pkl').is_file()
