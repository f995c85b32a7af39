import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_tools import CATEGORY, metrics

from mmad.engine.hooks import fit_progress
from mmad.models.layers import coreset
from mmad.utils import load_checkpoint

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


@pytest.mark.parametrize('seconds', [1, 3])
def test_ctrl_c_is_one_line(config, tmp_path, seconds):
    # In an interpreter of its own, to meet the imports as well.
    process = subprocess.Popen(
        [sys.executable, TOOLS / 'train.py', config, *CATEGORY],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(TOOLS.parent)),
        # It is ignored where the tests themselves run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130, err
    assert err.endswith('interrupted.\n')
    assert 'Traceback' not in err
    assert {path.name for path in tmp_path.iterdir()} <= {'work_dirs'}


def _wait(condition, process):
    while process.is_alive() and not condition():
        time.sleep(0.002)


@pytest.mark.parametrize('moment', ['any', 'checkpoint'])
def test_killed_training_can_be_repeated_and_resumed(start_tool, run_tool,
                                                     config, trained, tmp_path,
                                                     moment):
    command = ('train.py', config, *CATEGORY, '--work-dir', 'work')
    process = start_tool(tmp_path / 'resumed', *command)
    work_dir = tmp_path / 'resumed' / 'work'
    if moment == 'any':
        time.sleep(random.uniform(0, 1))
    else:
        _wait((work_dir / 'epoch_1.pth').exists, process)
    process.kill()
    process.join()
    shutil.copytree(tmp_path / 'resumed', tmp_path / 'repeated')
    for folder, options in (('resumed', ['--resume']), ('repeated', [])):
        result = run_tool(tmp_path / folder, *command, *options)
        assert result.status == 0, result.err
        work_dir = tmp_path / folder / 'work'
        assert metrics(work_dir) == metrics(trained / 'work')
        load_checkpoint(str(work_dir / 'epoch_1.pth'))


def test_resumed_from_a_named_checkpoint(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--work-dir',
                      'work', '--resume', trained / 'work' / 'epoch_1.pth')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'work') == metrics(trained / 'work')


def test_a_killed_fit_goes_on(run_tool, config, tmp_path, monkeypatch):
    command = ('train.py', config, *CATEGORY, '--work-dir', 'work',
               '--cfg-options', 'model.coreset_ratio=0.5',
               'custom_hooks.0.progress_after=0',
               'custom_hooks.0.progress_interval=0')
    whole = run_tool(tmp_path / 'whole', *command)
    assert whole.status == 0, whole.err
    write = fit_progress.open_atomically

    def write_once(path):
        if path.name == 'note_1.json':
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path)

    # The tools run in forks.
    monkeypatch.setattr(fit_progress, 'open_atomically', write_once)
    monkeypatch.setattr(coreset, '_NOTED', 20)
    assert run_tool(tmp_path, *command).status == -signal.SIGKILL
    monkeypatch.undo()
    result = run_tool(tmp_path, *command, '--resume')
    assert result.status == 0, result.err
    assert 'Resumed from: work/fit_progress: no checkpoint yet' in result.out
    assert ('Resumed the fit: 7 of 7 images, 20 patches of the coreset'
            in result.out)
    assert metrics(tmp_path / 'work') == metrics(tmp_path / 'whole/work')
