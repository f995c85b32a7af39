"""Fits that are interrupted, or killed, when they are about to write a file
of their notes."""
import itertools
import os
import signal

import torch.distributed as dist
import torch.multiprocessing as mp
from budgets import budget_for
from mmengine.runner import Runner

from mmad.engine import ProgressHook
from mmad.engine.hooks import fit_progress
from mmad.utils import load_checkpoint, setup_environment
from mmad.utils.checkpoint import latest_checkpoint

BACKBONE = dict(type='TinyBackbone')
PATCHCORE = dict(type='PatchCore', backbone=BACKBONE)
SPADE = dict(
    type='SPADE',
    backbone=BACKBONE,
    image_stage='layer3',
    pyramid_stages=['layer2', 'layer3'])
PCA = dict(type='PaDiM', backbone=BACKBONE, reduction='pca', dim=5)
MODELS = dict(
    patchcore=PATCHCORE,
    thinned=dict(PATCHCORE, memory_budget=budget_for(500, 16)),
    padim=dict(type='PaDiM', backbone=BACKBONE, dim=5),
    pca=PCA,
    stages=dict(
        type='PaDiM',
        backbone=BACKBONE,
        reduction='none',
        dim=None,
        fusion='sum_of_maps'),
    spade=SPADE,
    ensemble=dict(
        type='Ensemble',
        members=[SPADE, PATCHCORE, PCA,
                 dict(PATCHCORE, seed=1)]))
PASSES = dict(pca=2, ensemble=2)
_NUMBERS = itertools.count()


class Interruption(BaseException):
    """Stops a fit."""


def fit(cfg, interrupt_at=None):
    """Fit here, but stop at such a number of written files; the runner."""
    before = fit_progress.open_atomically
    _interrupt_at(interrupt_at, _raise)
    setup_environment()
    # Two runs of one name in the same second would share a logger.
    cfg.experiment_name = f'fit{next(_NUMBERS)}'
    runner = Runner.from_cfg(cfg)
    try:
        runner.train()
    except Interruption:
        pass
    finally:
        fit_progress.open_atomically = before
        # As the runner of the tools does.
        for hook in runner.hooks:
            if isinstance(hook, ProgressHook):
                hook.close()
    return runner


def fit_in_processes(world, cfg, kill_at=None):
    """Fit in so many processes, which are killed one after the other."""
    rendezvous = f'{cfg.work_dir}.rendezvous{next(_NUMBERS)}'
    processes = [
        mp.get_context('fork').Process(
            target=_fit_as_one_of,
            args=(rank, world, rendezvous, cfg, kill_at
                  and kill_at + 2 * rank)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def resume(cfg):
    """Do what ``--resume`` does."""
    cfg.resume = True
    cfg.load_from = latest_checkpoint(cfg.work_dir)
    return cfg


def fitted_state(cfg):
    return load_checkpoint(latest_checkpoint(cfg.work_dir))['state_dict']


def _fit_as_one_of(rank, world, rendezvous, cfg, kill_at):
    dist.init_process_group(
        'gloo',
        init_method=f'file://{rendezvous}',
        rank=rank,
        world_size=world)
    _interrupt_at(kill_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    setup_environment()
    Runner.from_cfg(cfg).train()
    dist.destroy_process_group()


def _raise():
    raise Interruption


def _interrupt_at(number, interrupt):
    write, left = fit_progress.open_atomically, [number]

    def count(path):
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                interrupt()
        return write(path)

    fit_progress.open_atomically = count
