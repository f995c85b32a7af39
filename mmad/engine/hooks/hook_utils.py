"""Functions shared by the hooks that fit, measure and calibrate models."""
import bisect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmad.datasets.files import draw_subset
from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.models.fit_state import FitState
from mmad.models.layers import FittedModule
from mmad.utils import write_atomically


def get_detector(runner: Runner) -> BaseDetector:
    """Return the detector of a runner, without a wrapper for processes."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def get_fit_state(model: nn.Module) -> FitState | None:
    """Return the fit state of a model, or None if it has none."""
    state = getattr(model, 'fit_state', None)
    return state if isinstance(state, FitState) else None


def validated_epochs(runner: Runner) -> list[int]:
    """Return the epochs, from 1, before the last that are validated."""
    return [] if runner.val_loop is None else [
        epoch for epoch in range(1, runner.max_epochs)
        if validation_is_due(runner.train_loop, epoch)
    ]


def validation_is_due(loop: EpochBasedTrainLoop, epoch: int) -> bool:
    """Return whether a validation follows an epoch, counted from 1."""
    milestone = bisect.bisect(loop.dynamic_milestones, epoch + 1)
    interval = loop.dynamic_intervals[milestone - 1]
    return epoch >= loop.val_begin and (epoch % interval == 0
                                        or epoch == loop.max_epochs)


def split_training_data(runner: Runner, share: float,
                        seed: int) -> tuple[Dataset, Dataset]:
    """Split the training images of a runner at random into two parts.

    Args:
        runner (Runner): Runner with the training data set.
        share (float): Share of the second part, in (0, 1).
        seed (int): Seed of the random split.

    Returns:
        tuple[Dataset, Dataset]: Both parts, with at least one image each.

    Raises:
        InputError: If there is only one image.
    """
    dataset = runner.train_loop.dataloader.dataset
    number = len(dataset)
    if number < 2:
        raise InputError(
            'there is only one training image, which cannot be used for both '
            'training and calibration; add more images.')
    held = draw_subset(number, share, seed)
    rest = [index for index in range(number) if index not in held]
    return _subset(dataset, rest), _subset(dataset, sorted(held))


def hold_out(runner: Runner, hook: Hook, share: float,
             seed: int) -> Dataset | None:
    """Keep a share of the training images from a training.

    To be called before the run, by a hook that keeps the images for later.

    Args:
        runner (Runner): Runner that may be about to train.
        hook (Hook): The hook, for messages.
        share (float): Share of the images, in (0, 1).
        seed (int): Seed of the random choice.

    Returns:
        Dataset | None: The images; None if no training is about to begin.

    Raises:
        InputError: There is only one image, or a schedule counts iterations
            of all images.
    """
    # The loop is built only where it is about to be run.
    if not isinstance(runner._train_loop, BaseLoop):
        return None
    name = type(hook).__name__
    schedules = runner.cfg.get('param_scheduler') or []
    if isinstance(schedules, dict):
        schedules = [schedules]
    if any(one.get('convert_to_iter_based') for one in schedules):
        raise InputError(
            '`param_scheduler` with `convert_to_iter_based` counts all '
            f'images, of which the {name} keeps some from the training; '
            'leave it out, or set `by_epoch=False` and `end`.')
    rest, held_out = split_training_data(runner, share, seed)
    set_training_data(runner, rest)
    # Built by now, for all images.
    if any(not one.get('by_epoch', True) and 'end' not in one
           for one in schedules):
        raise InputError(
            '`param_scheduler` with `by_epoch=False` ends with the '
            f'iterations of all images, of which the {name} keeps some from '
            f'the training; set its `end`, which is {runner.max_iters} for '
            'the whole training.')
    return held_out


def resumed_after_training(runner: Runner) -> bool:
    """Return whether a run was resumed after its last epoch."""
    return runner.epoch >= runner.max_epochs


def draw_evenly(dataset: Dataset, number: int) -> Dataset:
    """Return at most so many items of a data set, in equal steps."""
    return _subset(dataset, even_steps(dataset, number))


def even_steps(dataset: Dataset, number: int) -> list[int]:
    """Return the indices of at most so many items, in equal steps."""
    size = len(dataset)  # type: ignore[arg-type]
    return list(range(0, size, max(1, -(-size // number))))


def _subset(dataset: Dataset, indices: list[int]) -> Dataset:
    if isinstance(dataset, BaseDataset):
        return dataset.get_subset(indices)
    return Subset(dataset, indices)


def set_training_data(runner: Runner, dataset: Dataset) -> None:
    """Replace the training data set of a runner that has not started."""
    loop = runner.train_loop
    loop.dataloader = Runner.build_dataloader(
        dict(runner.cfg.train_dataloader, dataset=dataset),
        seed=runner.seed,
        diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
    loop._max_iters = loop._max_epochs * len(loop.dataloader)


def build_ordered_loader(runner: Runner,
                         dataset: Dataset,
                         batch_size: int = 1) -> DataLoader:
    """Build a loader that yields each image once, in order.

    The images are divided among the processes. One by one, no image is
    rounded by how many others are in its batch.
    """
    cfg = dict(runner.cfg.train_dataloader)
    cfg.pop('batch_sampler', None)
    cfg.update(
        dataset=dataset,
        batch_size=batch_size,
        drop_last=False,
        persistent_workers=False,
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))
    return Runner.build_dataloader(cfg, seed=runner.seed)


@torch.no_grad()
def fit_statistics(detector: BaseDetector, batches: Iterable[dict],
                   parts: Sequence[tuple[FittedModule, Callable]]) -> None:
    """Fit modules to features that are computed from images.

    Args:
        detector (BaseDetector): Detector that the modules belong to.
        batches (Iterable[dict]): Batches of a data loader, with the images of
            this process.
        parts (Sequence): Pairs of a module and a function that maps images
            ``(B, 3, H, W)`` to the features for the module.
    """
    was_training = detector.training
    detector.eval()
    for module, _ in parts:
        module.reset()
    for batch in batches:
        data = detector.data_preprocessor(batch, False)
        inputs, samples = data['inputs'], data['data_samples']
        detector.check_frame(inputs, samples)
        for module, describe in parts:
            module.update(describe(inputs), [s.sample_idx for s in samples])
    for module, _ in parts:
        module.finalize()
    detector.train(was_training)


def save_resumable_checkpoint(runner: Runner, epoch: int,
                              iteration: int) -> None:
    """Write ``epoch_N.pth``, from which ``--resume`` can continue."""
    name = f'epoch_{epoch}.pth'
    runner.save_checkpoint(
        runner.work_dir, name, meta=dict(epoch=epoch, iter=iteration))
    if is_main_process():
        write_atomically(
            Path(runner.work_dir, 'last_checkpoint'),
            str(Path(runner.work_dir, name)).encode())
