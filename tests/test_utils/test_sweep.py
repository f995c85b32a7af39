import json
import os
import time
from types import SimpleNamespace

import pytest

from mmad.utils import sweep as module
from mmad.utils.sweep import Sweep
from mmad.utils.sweep_table import SweepTable

NAMES = ['bolt', 'gear', 'nut', 'plate']


@pytest.fixture
def make_sweep(make_run, tmp_path):

    def make(**entries):
        runs = [make_run(name, **entries) for name in NAMES]
        return Sweep(
            runs, SweepTable('method', NAMES, NAMES, {}), tmp_path / 'work')

    return make


@pytest.fixture
def interrupt_at(monkeypatch):
    """Press Ctrl-C as soon as a file is there."""

    def interrupt_then(path):

        def sleep(seconds):
            time.sleep(seconds)
            if path.exists():
                raise KeyboardInterrupt

        monkeypatch.setattr(module, 'time', SimpleNamespace(sleep=sleep))

    return interrupt_then


def calls(sweep):
    return [
        json.loads(line) for run in sweep.runs
        if (run.folder / 'calls').exists()
        for line in (run.folder / 'calls').read_text().splitlines()
    ]


def written(sweep):
    return json.loads((sweep.folder / 'sweep.json').read_text())


def test_one_failure_takes_nothing_along(make_sweep, capsys):
    sweep = make_sweep()
    (sweep.runs[1].folder / 'train.spoil').write_text('sys.exit("no gears")')

    sweep.run([{}], resume=False)

    assert sweep.table.failures == dict(gear='no gears')
    assert list(written(sweep)['categories']) == ['bolt', 'nut', 'plate']
    assert written(sweep)['failed'] == dict(gear='no gears')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'bolt: started'
    assert lines[1].startswith(
        'bolt: image_auroc 75.0%, aupro undefined (fit ')
    assert lines[3] == (
        f'gear: FAILED, no gears (log: {sweep.runs[1].log})')


def test_resume_ends_it(make_sweep, capsys):
    sweep = make_sweep()
    spoil = sweep.runs[1].folder / 'train.spoil'
    spoil.write_text('sys.exit("no gears")')
    sweep.run([{}], resume=False)
    spoil.unlink()
    capsys.readouterr()

    again = make_sweep()
    again.run([{}], resume=True)

    assert not again.table.failures
    assert list(written(again)['categories']) == NAMES
    assert len(calls(again)) == 1 + 2 * len(NAMES)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        'bolt: finished before', 'nut: finished before',
        'plate: finished before', 'gear: started'
    ]


def test_resume_with_another_config(make_sweep, capsys):
    make_sweep(ratio=0.1).run([{}], resume=False)
    sweep = make_sweep(ratio=0.2)
    sweep.run([{}, {}], resume=True)
    assert len(calls(sweep)) == 4 * len(NAMES)
    assert 'bolt: the config has changed, starting anew' in (
        capsys.readouterr().out)


def test_slots(make_sweep, capsys):
    sweep = make_sweep()
    for run, other in zip(sweep.runs, ('gear', 'bolt')):
        (run.folder / 'train.spoil').write_text(
            'deadline = time.time() + 30\n'
            f'while not (folder.parent / "{other}" / "calls").exists():\n'
            '    assert time.time() < deadline\n')

    slots = [dict(SLOT=name, CUDA_VISIBLE_DEVICES=name) for name in 'ab']
    sweep.run(slots, resume=False)

    # The first two went on at the same time.
    assert not sweep.table.failures
    assert 'gear: started on GPU b' in capsys.readouterr().out
    for slot in 'ab':
        own = sorted((call['begin'], call['tool']) for call in calls(sweep)
                     if call['env']['SLOT'] == slot)
        # In a slot one category comes after the other.
        assert [tool for _, tool in own] == ['train', 'test'] * (len(own) // 2)
        assert len(own) >= 2


def test_interrupted(make_sweep, interrupt_at):
    sweep = make_sweep()
    (sweep.runs[1].folder / 'train.spoil').write_text('time.sleep(60)')
    interrupt_at(sweep.runs[1].folder / 'calls')
    with pytest.raises(KeyboardInterrupt):
        sweep.run([{}], resume=False)

    pid = calls(sweep)[-1]['pid']
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(written(sweep)['categories']) == ['bolt']
    assert written(sweep)['unfinished'] == ['gear', 'nut', 'plate']


def test_table_is_written_at_the_start(make_sweep, monkeypatch):
    sweep = make_sweep()
    monkeypatch.setattr(sweep, '_start', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sweep.run([{}], resume=False)
    assert written(sweep)['unfinished'] == NAMES


def test_stubborn_processes_are_killed(make_sweep, interrupt_at, monkeypatch):
    sweep = make_sweep()
    folder = sweep.runs[0].folder
    (folder / 'train.spoil').write_text(
        'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); '
        '(folder / "deaf").touch(); time.sleep(60)')
    interrupt_at(folder / 'deaf')
    monkeypatch.setattr(module, '_GRACE_SECONDS', 0.2)
    with pytest.raises(KeyboardInterrupt):
        sweep.run([{}], resume=False)
    with pytest.raises(ProcessLookupError):
        os.kill(calls(sweep)[0]['pid'], 0)
