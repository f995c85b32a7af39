"""What the hooks of the stages around training share."""
import bisect
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from mmengine.dist import get_rank, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.progress import track
from torch.utils.data import DataLoader

from mmad.models import BaseDetector
from mmad.utils import write_atomically


def detector_of(runner: Runner) -> BaseDetector:
    """The detector, without what wraps it for several processes."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def validation_is_due(loop: EpochBasedTrainLoop, epoch: int) -> bool:
    """Whether a loop goes on to validate after an epoch, counted from 1."""
    milestone = bisect.bisect(loop.dynamic_milestones, epoch + 1)
    interval = loop.dynamic_intervals[milestone - 1]
    return epoch >= loop.val_begin and (
        epoch % interval == 0 or epoch == loop.max_epochs)


def stage_loader(runner: Runner, split: str) -> DataLoader:
    """Each image of a part of the training data, once over all processes.

    One at a time, so that no result depends on which others are in a batch.

    Args:
        runner (Runner): Its training loader is varied.
        split (str): ``'train'`` or ``'calibration'``.
    """
    cfg = deepcopy(dict(runner.cfg.train_dataloader))
    cfg.pop('batch_sampler', None)
    cfg.update(
        batch_size=1,
        drop_last=False,
        persistent_workers=False,
        sampler=dict(
            type='DefaultSampler', shuffle=False, round_up=False))
    cfg['dataset'].split = split
    return Runner.build_dataloader(cfg, seed=runner.seed)


def progress(loader: DataLoader, title: str) -> Iterator[dict]:
    """The batches of a loader, with a bar in the first process."""
    return iter(track(loader, title, disable=get_rank() > 0))


def save_stage(runner: Runner, epoch: int, iteration: int) -> None:
    """Write ``epoch_N.pth`` for ``--resume`` to go on from."""
    name = f'epoch_{epoch}.pth'
    runner.save_checkpoint(
        runner.work_dir, name, meta=dict(epoch=epoch, iter=iteration))
    if is_main_process():
        write_atomically(
            Path(runner.work_dir, 'last_checkpoint'),
            str(Path(runner.work_dir, name)).encode())
