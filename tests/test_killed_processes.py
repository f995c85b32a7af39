"""A process of a distributed run that ends early ends all others."""
import random
import signal

import killed_runs
import pytest
from killed_runs import STAGES, finish, is_same, leftovers
from mmengine.hooks import Hook

from mmad.errors import InputError
from mmad.registry import HOOKS

STAGE_NAMES = [stage for stage in STAGES if stage != 'end']
ERRORS = dict(
    bug=RuntimeError('Connection\nlost'),
    input=InputError('the image "x.png" is broken; remove it.'),
    interrupt=KeyboardInterrupt())


@HOOKS.register_module(force=True)
class RaisingHook(Hook):
    """Raises an error in one process while the others wait for it."""

    def __init__(self, rank, error):
        self.rank = rank
        self.error = error

    def after_train_iter(self, runner, **kwargs):
        if runner.rank == self.rank:
            raise ERRORS[self.error]


@pytest.fixture
def write_config(start_tool, tmp_path):
    # `start_tool` has compiled and imported what the processes need.
    return lambda *args: killed_runs.write_config(tmp_path, *args)


@pytest.mark.parametrize(('sign', 'stage', 'victim'),
                         [(signal.SIGKILL, 'select', 0),
                          (signal.SIGTERM, 'validate', 1),
                          (signal.SIGSTOP, 'checkpoint', 1)])
def test_signal(write_config, monkeypatch, tmp_path, sign, stage, victim):
    timeout = 3 if sign == signal.SIGSTOP else 600
    monkeypatch.setattr(killed_runs, 'TIMEOUT', timeout)
    config = write_config('patchcore')
    expected = finish(tmp_path / 'whole', config, 1)
    folder = tmp_path / 'killed'
    done = killed_runs.kill(
        killed_runs.start(folder, config, 2), folder, sign, victim, stage, 0,
        0)
    assert done.codes[1 - victim] == 1
    # No stack traces: the reason alone.
    assert done.said.count('\n') == 1
    assert done.said.startswith(f'error: process {victim} of 2 (pid ')
    assert done.seconds < 30
    assert is_same(finish(folder, config, 2), expected)
    assert leftovers(folder) == []


@pytest.mark.parametrize(('error', 'rank'), [('bug', 0), ('bug', 1),
                                             ('input', 1), ('interrupt', 1)])
def test_error_of_one_process(write_config, tmp_path, rank, error):
    config = write_config('patchcore')
    hook = dict(type='RaisingHook', rank=rank, error=error)
    config.write_text(f'{config.read_text()}custom_hooks.append({hook})\n')
    folder = tmp_path / 'work'
    processes = killed_runs.start(folder, config, 2)
    for process in processes:
        process.join(60)
    status = dict(bug=1, input=2, interrupt=130)[error]
    codes = [process.exitcode for process in processes]
    assert codes == ([status, 1] if rank == 0 else [1, status])
    said = (folder / f'stderr{1 - rank}').read_text()
    reason = dict(
        bug='failed: RuntimeError: Connection',
        input='failed: the image "x.png" is broken; remove it, so',
        interrupt='was interrupted')[error]
    assert said.startswith(f'error: process {rank} of 2 (pid ')
    assert reason in said
    assert said.count('\n') == 1
    own = (folder / f'stderr{rank}').read_text()
    assert ('Traceback' in own) == (error == 'bug')


@pytest.mark.slow
@pytest.mark.parametrize('method', sorted(killed_runs.MORE))
def test_random_moments(write_config, tmp_path, method):
    seed = random.randrange(1 << 32)
    print(f'seed {seed}')
    draw = random.Random(seed)
    world = draw.choice([2, 3])
    config = write_config(method, draw.randrange(3))
    reference = tmp_path / 'whole'
    expected = finish(reference, config, world)
    assert {stage for stage, _ in killed_runs.begins(reference)} == {*STAGES}
    for sign in (signal.SIGKILL, signal.SIGTERM):
        for stage in STAGE_NAMES:
            done = killed_runs.kill_at_random(tmp_path / 'killed', config,
                                              world, draw, expected, reference,
                                              sign, stage)
            assert not done.hung
            assert done.seconds < killed_runs.TIMEOUT
            assert 0 not in done.codes
            assert f'process {done.victim} of {world}' in done.said
            assert done.repeated
            assert done.resumed or not done.had_checkpoint
            assert done.left_after == []


def test_stages_are_noted(write_config, tmp_path):
    finish(tmp_path / 'whole', write_config('padim'), 1)
    found = [stage for stage, _ in killed_runs.begins(tmp_path / 'whole')]
    assert found == list(STAGES)
