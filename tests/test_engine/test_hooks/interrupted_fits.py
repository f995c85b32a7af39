"""Fits in processes of their own, which are killed while they take notes."""
import os
import signal

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.runner import Runner

from mmad.engine.hooks import fit_progress
from mmad.utils import load_checkpoint, setup_environment
from mmad.utils.checkpoint import latest_checkpoint

STATISTICS = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])
BACKBONE = dict(type='TinyBackbone')
PATCHCORE = dict(type='PatchCore', backbone=BACKBONE, coreset_ratio=0.2)
SPADE = dict(
    type='SPADE',
    backbone=BACKBONE,
    image_stage='layer3',
    pyramid_stages=['layer2', 'layer3'])
MODELS = dict(
    patchcore=PATCHCORE,
    thinned=dict(PATCHCORE, max_patches=1500),
    padim=dict(type='PaDiM', backbone=BACKBONE, dim=5),
    pca=dict(type='PaDiM', backbone=BACKBONE, reduction='pca', dim=5),
    stages=dict(
        type='PaDiM',
        backbone=BACKBONE,
        reduction='none',
        dim=None,
        fusion='sum_of_maps'),
    spade=SPADE,
    files=dict(SPADE, gallery_dir='gallery'),
    ensemble=dict(
        type='Ensemble',
        members=[
            dict(PATCHCORE, coreset_ratio=0.1),
            dict(type='PaDiM', backbone=BACKBONE, reduction='pca', dim=5),
            SPADE,
            dict(PATCHCORE, seed=1),
        ]))
PASSES = dict(pca=2, ensemble=2)


def run(world, cfg, kill=0):
    """Fit in so many processes; their exit codes."""
    folder = cfg.work_dir
    os.makedirs(folder, exist_ok=True)
    rendezvous = os.path.join(folder, 'rendezvous')
    if os.path.exists(rendezvous):
        os.unlink(rendezvous)
    processes = [
        mp.get_context('fork').Process(
            target=_run, args=(rank, world, rendezvous, cfg, kill))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def resume(cfg):
    cfg.resume = True
    cfg.load_from = latest_checkpoint(cfg.work_dir)


def state(folder):
    return load_checkpoint(latest_checkpoint(folder))['state_dict']


def _run(rank, world, rendezvous, cfg, kill):
    os.chdir(cfg.work_dir)
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group(
            'gloo',
            init_method=f'file://{rendezvous}',
            rank=rank,
            world_size=world)
    # The processes do not die in the same place.
    _kill_at_write(kill and kill + rank)
    setup_environment()
    runner = Runner.from_cfg(cfg)
    runner.train()
    if world > 1:
        dist.destroy_process_group()


def _kill_at_write(number):
    """Kill this process before it opens its file number so many."""
    write, left = fit_progress.open_atomically, [number]

    def count(path):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path)

    fit_progress.open_atomically = count
