"""Sweeps whose runs are jobs of submitit, here as processes."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from config_texts import ROOT
from run_tools import calls, is_one_sentence

DEMO = ROOT / 'configs/patchcore/patchcore_demo.py'
NAMES = ('bolt', 'gear', 'nut')
AS_JOBS = ('--cluster', 'local', '--gpus-per-run', '0')


@pytest.fixture(autouse=True)
def package_is_found(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT), prepend=os.pathsep)


@pytest.fixture
def command(quick_sweep, tmp_path):
    """Sweep three categories with stand-ins for the tools it starts."""
    for name in NAMES:
        (tmp_path / 'data' / name / 'train/good').mkdir(parents=True)
        (tmp_path / 'work' / name).mkdir(parents=True)
    return (quick_sweep, DEMO, '--data-root', 'data', '--work-dir', 'work')


def written(tmp_path):
    return json.loads((tmp_path / 'work/sweep.json').read_text())


def test_failures_are_told_and_resumed(command, run_tool, tmp_path):
    pytest.importorskip('submitit')
    spoil = tmp_path / 'work/gear/train.spoil'
    spoil.write_text('sys.exit("error: no gears.")')
    killed = tmp_path / 'work/nut/test.spoil'
    # Ends the job itself, as a cluster does for lack of memory.
    killed.write_text('os.kill(os.getppid(), 9)')
    result = run_tool(tmp_path, *command, *AS_JOBS)
    assert result.status == 1, result.err
    assert list(written(tmp_path)['categories']) == ['bolt']
    failed = written(tmp_path)['failed']
    assert failed['gear'] == 'no gears.'
    assert 'ended without a result' in failed['nut']
    for name in NAMES:
        assert f'{name}: submitted as job ' in result.out
    assert 'bolt: image_auroc 75.0%' in result.out
    assert 'gear: FAILED, no gears. (log: work/gear/sweep.log)' in result.out
    spoil.unlink()
    killed.unlink()
    result = run_tool(tmp_path, *command, *AS_JOBS, '--resume')
    assert result.status == 0, result.err
    assert 'bolt: finished before' in result.out
    assert list(written(tmp_path)['categories']) == list(NAMES)
    # Of the killed one, the test alone is repeated.
    assert [call['tool'] for call in calls(tmp_path / 'work', 'nut')
            ] == ['train', 'test', 'test']


@pytest.mark.slow
def test_interruption_cancels_the_jobs(command, tmp_path):
    pytest.importorskip('submitit')
    (tmp_path / 'work/bolt/train.spoil').write_text('time.sleep(600)')
    process = subprocess.Popen(
        [sys.executable, *map(str, command), *AS_JOBS, '--categories', 'bolt'],
        cwd=tmp_path)
    deadline = time.monotonic() + 300

    def wait_until(condition):
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    wait_until((tmp_path / 'work/bolt/calls').is_file)
    wait_until(lambda: calls(tmp_path / 'work', 'bolt'))
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 130
    pid = calls(tmp_path / 'work', 'bolt')[0]['pid']
    wait_until(lambda: not os.path.exists(f'/proc/{pid}'))


def test_one_sentence_without_submitit(command, run_tool, tmp_path,
                                       monkeypatch):
    monkeypatch.setitem(sys.modules, 'submitit', None)
    result = run_tool(tmp_path, *command, *AS_JOBS)
    assert is_one_sentence(result)
    assert 'pip install submitit' in result.err


@pytest.mark.parametrize(('options', 'text'), [
    (('--partition', 'gpu'), '--partition is for runs on a cluster'),
    (('--hours', '2'), '--hours is for runs on a cluster'),
    ((*AS_JOBS, '--hours', '0'), '--hours'),
    (('--cluster', 'local', '--gpus-per-run', '-1'), '--gpus-per-run'),
])
def test_bad_options(command, run_tool, tmp_path, options, text):
    result = run_tool(tmp_path, *command, *options)
    assert is_one_sentence(result)
    assert text in result.err


def test_slurm_must_be_there(command, run_tool, tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    monkeypatch.setenv('PATH', '/nowhere')
    result = run_tool(tmp_path, *command, '--cluster', 'slurm')
    assert is_one_sentence(result)
    assert 'where sbatch can be called' in result.err
