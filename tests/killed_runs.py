"""Kill one process of a distributed run, at a random moment of a stage.

As a script it prints a table of so many moments with SIGKILL, and as many
with SIGTERM::

    python tests/killed_runs.py OUT_DIR METHOD [NUMBER] [SEED]
"""
import itertools
import multiprocessing as mp
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from config_texts import ROOT, leave_configs_unformatted
from mmengine.hooks import Hook
from process_group import free_port
from run_tools import run_in_folder
from small_data import write_data

from mmad.models.layers import k_center_greedy
from mmad.registry import HOOKS
from mmad.utils import load_checkpoint
from mmad.utils.command_line import one_sentence_errors

TIMEOUT = 20
# What begins at which point of a run, before the hooks of mmad.
STAGES = dict(
    collect=('before_train_epoch', 'VERY_HIGH'),
    select=('after_train_epoch', 'VERY_HIGH'),
    calibrate=('after_train_epoch', 'BELOW_NORMAL'),
    checkpoint=('after_train_epoch', 80),
    validate=('before_val_epoch', 'VERY_HIGH'),
    report=('after_val_epoch', 'VERY_HIGH'),
    end=('after_run', 'LOWEST'))


@HOOKS.register_module(force=True)
class StageHook(Hook):
    """Writes the time at which a stage begins to a file of the process."""

    def __init__(self, stage, point):
        self.stage = stage
        setattr(self, point, self._note)

    def _note(self, runner, **kwargs):
        with open(f'stages{os.environ.get("RANK", 0)}', 'a') as file:
            file.write(f'{self.stage} {time.time()}\n')


CONFIG = """
_base_ = '{root}/configs/{method}/{method}_demo.py'
loader = dict(
    batch_size=2,
    num_workers={workers},
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset',
        data_root='{data}',
        category='bottle',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='PackInputs'),
        ]))
train_dataloader = val_dataloader = test_dataloader = loader
env_cfg = dict(dist_timeout={timeout})
custom_hooks = {hooks}
{more}
"""
TRAINING = """
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
"""
MORE = dict(
    patchcore='',
    padim='',
    spade="model = dict(gallery_dir='gallery')",
    fyd=TRAINING,
    mkd=TRAINING)
# Those of the demos; a config of this file adds the stages to them.
CUSTOM_HOOKS = dict(
    fyd=[dict(type='SyncNormHook'),
         dict(type='FitAfterTrainHook')],
    mkd=[dict(type='SyncNormHook')])


def write_config(folder, method, workers=0):
    """Write the data and the config of a method."""
    if not (folder / 'data').exists():
        write_data(folder / 'data' / 'bottle', num_train=16)
    hooks = CUSTOM_HOOKS.get(method, [dict(type='FitHook')]) + [
        dict(type='StageHook', stage=stage, point=point, priority=priority)
        for stage, (point, priority) in STAGES.items()
    ]
    path = folder / f'{method}.py'
    path.write_text(
        CONFIG.format(
            root=ROOT,
            method=method,
            data=folder / 'data',
            workers=workers,
            timeout=TIMEOUT,
            hooks=hooks,
            more=MORE[method]))
    return path


def start(folder, config, world, *options):
    """Start the training as so many processes, as torchrun would."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob('stages*'):
        path.unlink()
    port = free_port()
    processes = []
    for rank in range(world):
        env = dict(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(world),
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=port)
        args = [
            str(config), '--work-dir', 'work', '--launcher', 'pytorch',
            *options
        ]
        processes.append(
            mp.get_context('fork').Process(
                target=run_in_folder, args=(folder, 'train.py', args, env)))
        processes[-1].start()
    return processes


def finish(folder, config, world, *options):
    """Run the training to its end: the last checkpoint and the metrics."""
    processes = start(folder, config, world, *options)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * world, [
        (folder / f'stderr{rank}').read_text() for rank in range(world)
    ]
    return result(folder)


def result(folder):
    last = (folder / 'work' / 'last_checkpoint').read_text()
    state = load_checkpoint(str(folder / 'work' / Path(last).name))
    return state['state_dict'], (folder / 'work' / 'metrics.json').read_text()


def is_same(found, expected):
    return found[1] == expected[1] and found[0].keys() == expected[0].keys(
    ) and all(
        torch.equal(found[0][name], expected[0][name]) for name in expected[0])


def begins(folder, rank=0):
    """When each stage of a process began, in order."""
    try:
        lines = (folder / f'stages{rank}').read_text().splitlines()
    except FileNotFoundError:
        return []
    pairs = [line.split() for line in lines if line.count(' ') == 1]
    return [(stage, float(moment)) for stage, moment in pairs]


def durations(folder):
    """How often each stage occurs, and how long it lasts."""
    found = begins(folder)
    return {
        stage: [
            after - before
            for (name, before), (_, after) in itertools.pairwise(found)
            if name == stage
        ]
        for stage in STAGES if stage != 'end'
    }


def kill(processes, folder, sign, victim, stage, number, delay):
    """Send a signal so many seconds after a stage has begun.

    Returns the seconds until all others have ended, and what they say.
    """
    while processes[victim].is_alive() and [
            name for name, _ in begins(folder, victim)
    ].count(stage) <= number:
        time.sleep(0.001)
    time.sleep(delay)
    if not processes[victim].is_alive():
        # It was over before.
        for process in processes:
            process.join()
        return None
    os.kill(processes[victim].pid, sign)
    begin = time.monotonic()
    others = [p for rank, p in enumerate(processes) if rank != victim]
    # `join` would wait for the workers of data loaders, too.
    while any(
            process.is_alive()
            for process in others) and time.monotonic() < begin + 2 * TIMEOUT:
        time.sleep(0.01)
    seconds = time.monotonic() - begin
    hung = [process for process in others if process.is_alive()]
    for process in processes:
        process.kill()
        process.join()
    return SimpleNamespace(
        hung=bool(hung),
        seconds=seconds,
        codes=[process.exitcode for process in processes],
        said=(folder / f'stderr{int(victim == 0)}').read_text())


def leftovers(folder):
    """What is only there while something is being written."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob('*')
        if path.name.startswith(('.',
                                 'partial-')) and path.name != '.partial.lock')


def kill_at_random(folder, config, world, draw, expected, reference, sign,
                   stage):
    """Kill, start again and resume, and compare with an undisturbed run."""
    lasting = durations(reference)[stage]
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        victim, number = draw.randrange(world), draw.randrange(len(lasting))
        delay = draw.uniform(0, lasting[number])
        processes = start(folder, config, world)
        done = kill(processes, folder, sign, victim, stage, number, delay)
        # Once all have finished, nobody waits for another.
        if done is not None and 0 not in done.codes:
            break
    done.victim, done.delay = victim, delay
    done.stage = (begins(folder, victim) or [('start', 0)])[-1][0]
    done.left = leftovers(folder)
    repeated = folder.with_name(f'{folder.name}_repeated')
    shutil.rmtree(repeated, ignore_errors=True)
    shutil.copytree(folder, repeated)
    done.repeated = is_same(finish(repeated, config, world), expected)
    done.left_after = leftovers(repeated)
    # Else it is the same as beginning again.
    done.had_checkpoint = (folder / 'work' / 'last_checkpoint').exists()
    if done.had_checkpoint:
        # In its place, as the checkpoint is noted with its whole path.
        done.resumed = is_same(
            finish(folder, config, world, '--resume'), expected)
        done.left_after += leftovers(folder)
    return done


def main():
    torch.set_num_threads(1)
    # Compiled and imported once for all, as the processes are forks.
    k_center_greedy(torch.rand(50, 4), 20)
    one_sentence_errors(lambda: None)
    leave_configs_unformatted()
    out, method = Path(sys.argv[1]).resolve(), sys.argv[2]
    number = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    draw = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
    out.mkdir(parents=True, exist_ok=True)
    # A fit does not depend on the number of processes, a training does.
    reference = out / 'whole'
    expected = finish(reference, write_config(out, method), 2)
    stages = [stage for stage in STAGES if stage != 'end']
    draw.shuffle(stages)
    print('| method | processes | stage | after (s) | signal to rank | '
          'others ended after (s) | exit statuses | named on rank | '
          'left behind | same command | `--resume` | left after |')
    print('|' + ' --- |' * 12)
    for row, sign in itertools.product(
            range(number), (signal.SIGKILL, signal.SIGTERM)):
        world = 2 if MORE[method] == TRAINING else draw.choice([2, 3])
        config = write_config(out, method, workers=draw.randrange(3))
        done = kill_at_random(out / 'killed', config, world, draw, expected,
                              reference, sign, stages[row % len(stages)])
        named = f'process {done.victim} of {world}' in done.said
        resumed = 'no checkpoint yet'
        if done.had_checkpoint:
            resumed = 'same' if done.resumed else 'DIFFERS'
        print(
            f'| {method} | {world} | {done.stage} | '
            f'{done.delay:.3f} | {sign.name} {done.victim} | '
            f'{"hung" if done.hung else f"{done.seconds:.2f}"} | '
            f'{done.codes} | {int(done.victim == 0) if named else "no"} | '
            f'{len(done.left)} | {"same" if done.repeated else "DIFFERS"} | '
            f'{resumed} | {len(done.left_after)} |',
            flush=True)


if __name__ == '__main__':
    main()
