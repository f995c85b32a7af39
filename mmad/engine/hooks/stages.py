"""What the hooks of the stages around training share."""
import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import get_rank, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.progress import track
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmad.datasets.files import draw_subset
from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.models.fit_state import FitState
from mmad.models.layers import FittedModule
from mmad.utils import write_atomically


def detector_of(runner: Runner) -> BaseDetector:
    """The detector, without what wraps it for several processes."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def fit_state_of(model: nn.Module) -> FitState | None:
    """Whether a model is fitted; None of one that does not say."""
    state = getattr(model, 'fit_state', None)
    return state if isinstance(state, FitState) else None


def validated_epochs(runner: Runner) -> list[int]:
    """Epochs, from 1, that a validation follows, the last one excepted."""
    return [] if runner.val_loop is None else [
        epoch for epoch in range(1, runner.max_epochs)
        if validation_is_due(runner.train_loop, epoch)
    ]


def validation_is_due(loop: EpochBasedTrainLoop, epoch: int) -> bool:
    """Whether a loop goes on to validate after an epoch, counted from 1."""
    milestone = bisect.bisect(loop.dynamic_milestones, epoch + 1)
    interval = loop.dynamic_intervals[milestone - 1]
    return epoch >= loop.val_begin and (epoch % interval == 0
                                        or epoch == loop.max_epochs)


def split_training_data(runner: Runner, share: float,
                        seed: int) -> tuple[Dataset, Dataset]:
    """Part the training images at random.

    Args:
        runner (Runner): Its training data set is parted.
        share (float): Share of the second part, in (0, 1).
        seed (int): Of the choice.

    Returns:
        tuple[Dataset, Dataset]: Both parts, of an image at least.

    Raises:
        InputError: There is one image only.
    """
    dataset = runner.train_loop.dataloader.dataset
    number = len(dataset)
    if number < 2:
        raise InputError(
            'there is one training image, which cannot be both trained and '
            'calibrated with; add more.')
    held = draw_subset(number, share, seed)
    rest = [index for index in range(number) if index not in held]
    return _subset(dataset, rest), _subset(dataset, sorted(held))


def _subset(dataset: Dataset, indices: list[int]) -> Dataset:
    if isinstance(dataset, BaseDataset):
        return dataset.get_subset(indices)
    return Subset(dataset, indices)


def train_on(runner: Runner, dataset: Dataset) -> None:
    """Let a runner that has not begun yet train on another data set."""
    loop = runner.train_loop
    loop.dataloader = Runner.build_dataloader(
        dict(runner.cfg.train_dataloader, dataset=dataset),
        seed=runner.seed,
        diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
    loop._max_iters = loop._max_epochs * len(loop.dataloader)


def one_by_one(runner: Runner, dataset: Dataset) -> DataLoader:
    """Load each image of a data set once over all processes, one at a time.

    So no result depends on which others are in a batch.
    """
    cfg = dict(runner.cfg.train_dataloader)
    cfg.pop('batch_sampler', None)
    cfg.update(
        dataset=dataset,
        batch_size=1,
        drop_last=False,
        persistent_workers=False,
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))
    return Runner.build_dataloader(cfg, seed=runner.seed)


@torch.no_grad()
def fit_statistics(detector: BaseDetector, batches: Iterable[dict],
                   parts: Sequence[tuple[FittedModule, Callable]]) -> None:
    """Fit modules to what is computed of images.

    Args:
        detector (BaseDetector): That the modules belong to.
        batches (Iterable[dict]): Images of this process from a data loader.
        parts (Sequence): Modules, and what maps images ``(B, 3, H, W)`` to
            the features that they are updated with.
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
