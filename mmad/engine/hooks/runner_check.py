"""What is checked of a finished runner before it trains."""
from collections.abc import Iterator

from mmengine.dataset import (
    ClassBalancedDataset,
    InfiniteSampler,
    RepeatDataset,
)
from mmengine.dataset import ConcatDataset as MMEngineConcatDataset
from mmengine.dist import get_world_size
from mmengine.hooks import (
    CheckpointHook,
    EarlyStoppingHook,
    EMAHook,
    Hook,
    SyncBuffersHook,
)
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmad.datasets import AnomalyDataset, ConcatDataset
from mmad.errors import InputError
from mmad.models import FitDetector, UninformedStudents
from mmad.utils.inner_datasets import inner_datasets

from .calibration_hook import CalibrationHook
from .fit_after_train_hook import FitAfterTrainHook
from .fit_hook import FitHook
from .metric_rules import reported_metrics
from .stages import detector_of, fit_state_of, validation_is_due
from .sync_norm_hook import SyncNormHook
from .teacher_statistics_hook import TeacherStatisticsHook

_STAGES = (FitAfterTrainHook, FitHook, TeacherStatisticsHook, CalibrationHook)


def check_runner(runner: Runner) -> None:
    """Refuse a training that could not end with something to predict with.

    :class:`~mmad.engine.hooks.CheckpointHook` calls it before each training,
    whichever way the runner was made.

    Args:
        runner (Runner): About to train.

    Raises:
        InputError: A hook of the method is missing, comes too late or does
            not go with another one; or loop, data loader and checkpoints do
            not suit the method. The sentence says what to change.
    """
    for rows in (_hook_rows, _loop_rows, _data_rows, _checkpoint_rows):
        for is_wrong, sentence in rows(runner):
            if is_wrong:
                raise InputError(sentence)


def stages_of(model: nn.Module) -> list[type[Hook]]:
    """The hooks without which a model ends with nothing to predict with."""
    if isinstance(model, UninformedStudents):
        return [TeacherStatisticsHook, CalibrationHook]
    if isinstance(model, FitDetector):
        return [FitAfterTrainHook if model.needs_training else FitHook]
    return []


def _hook_rows(runner: Runner) -> Iterator[tuple[bool, str]]:
    model = detector_of(runner)
    name = type(model).__name__
    needed = stages_of(model)
    has_state = fit_state_of(model) is not None
    hooks = runner.hooks
    given = [_stage_of(hook) for hook in hooks if isinstance(hook, _STAGES)]
    for stage in needed:
        other = [hook for hook in given if hook not in needed]
        yield stage not in given and not other, (
            f'{name} needs the {stage.__name__}, which is missing in '
            '`custom_hooks` (a list of your own replaces that of the base '
            f'config); add dict(type="{stage.__name__}") to it.')
        yield stage not in given, (
            f'{name} as configured needs the {stage.__name__}, and '
            f'`custom_hooks` has the {_names(other)}; put '
            f'dict(type="{stage.__name__}") in its place.')
        yield given.count(stage) > 1, (
            f'`custom_hooks` has the {stage.__name__} twice; leave one out.')
    for stage in given:
        yield stage not in needed and has_state, (
            f'`custom_hooks` has the {stage.__name__}, which is not for '
            f'{name} as configured; leave it out.')

    for hook in hooks:
        kind = type(hook).__name__
        late = [
            _stage_of(stage) for stage in hooks[hooks.index(hook):]
            if isinstance(stage, _STAGES)
        ]
        yield isinstance(hook, CheckpointHook) and bool(late), (
            f'the {_names(late)} comes after the {kind} by its `priority`, so '
            'that an unfitted state would be saved; leave the priorities at '
            'their defaults.')
        early = [
            stage for stage in hooks[:hooks.index(hook)]
            if isinstance(stage, FitAfterTrainHook)
        ]
        yield isinstance(hook, SyncNormHook) and bool(early), (
            f'the FitAfterTrainHook comes before the {kind} by its '
            '`priority`, so that processes would fit to different features; '
            'leave the priorities at their defaults.')
        yield isinstance(hook, EMAHook) and bool(needed), (
            f'the {kind} does not go with {name}, whose {_names(needed)} '
            'would work with the weights that are not averaged; leave it out.')
        yield (isinstance(hook, SyncBuffersHook) and has_state), (
            f'the {kind} would average all buffers, also those that are no '
            'statistics; use dict(type="SyncNormHook") in its place.')
    apart = get_world_size() > 1 and has_state and any(
        isinstance(module, _BatchNorm) and module.track_running_stats
        and not isinstance(module, nn.SyncBatchNorm)
        and module.weight is not None and module.weight.requires_grad
        for module in model.modules())
    synced = any(isinstance(hook, SyncNormHook) for hook in hooks)
    yield apart and not synced, (
        f'{name} has batch normalization, whose statistics would differ '
        'between the processes; add dict(type="SyncNormHook") to '
        '`custom_hooks`.')
    yield apart and not isinstance(runner.train_loop, EpochBasedTrainLoop), (
        f'{name} has batch normalization, whose statistics the SyncNormHook '
        'averages over the processes at the end of an epoch; use '
        'EpochBasedTrainLoop, or one process.')


def _loop_rows(runner: Runner) -> Iterator[tuple[bool, str]]:
    model, loop = detector_of(runner), runner.train_loop
    name = type(model).__name__
    stages = _names(stages_of(model))
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    yield not by_epoch and stages != '', (
        f'{name} needs epochs for the {stages}, and `train_cfg.type` is '
        f'{type(loop).__name__}; use EpochBasedTrainLoop.')
    yield loop.max_epochs < 1 or loop.max_iters < 1, (
        f'there would be not one step of training, with {loop.max_epochs} '
        f'epoch(s) of {len(loop.dataloader)} batch(es); mind `max_epochs` or '
        '`max_iters` of `train_cfg`, and `drop_last` of `train_dataloader`.')
    if by_epoch and stages == 'FitHook' and runner.val_loop is not None:
        early = [
            epoch for epoch in range(1, loop.max_epochs)
            if validation_is_due(loop, epoch)
        ]
        yield bool(early) and loop.max_epochs == model.num_passes, (
            f'a validation is due after epoch {(early or [0])[0]}, but {name} '
            f'is fitted after epoch {loop.max_epochs}; set '
            f'`train_cfg.val_interval={loop.max_epochs}`.')


def _data_rows(runner: Runner) -> Iterator[tuple[bool, str]]:
    model, loop = detector_of(runner), runner.train_loop
    name = type(model).__name__
    loader = loop.dataloader
    dataset = loader.dataset
    yield (isinstance(loop, EpochBasedTrainLoop) and isinstance(
        loader.sampler, InfiniteSampler)), (
            'the `sampler` of `train_dataloader` is an InfiniteSampler, with '
            'which no epoch ends; use DefaultSampler.')
    several = [
        type(part).__name__ for part in _parts(dataset)
        if isinstance(part, ClassBalancedDataset | RepeatDataset) or (
            isinstance(model, FitDetector)
            and isinstance(part, MMEngineConcatDataset)
            and not isinstance(part, ConcatDataset) and len(part.datasets) > 1)
    ]
    yield bool(stages_of(model)) and bool(several), (
        f'{name} needs each training image once and numbered, which '
        f'{"".join(several[:1])} does not see to; use one data set without '
        'it.')
    yield bool(stages_of(model)) and any(
        getattr(inner, 'max_refetch', 0) for inner in inner_datasets(dataset)
        if isinstance(inner, AnomalyDataset)), (
            f'{name} needs each training image once, and `max_refetch` of the '
            'data set would put another image in the place of one that the '
            'pipeline leaves out; leave it at 0.')
    if not isinstance(model, FitDetector):
        return
    yield loader.batch_size is None, (
        '`train_dataloader.batch_sampler` does not go with '
        f'{name}, which needs batches of one size; use `batch_size`.')
    yield loader.drop_last and len(loader.sampler) % loader.batch_size > 0, (
        f'`train_dataloader.drop_last` would leave out images, and {name} is '
        'fitted to each once; use drop_last=False.')


def _parts(dataset: object) -> list:
    """A data set and those that it wraps, from the outside in."""
    inner = getattr(dataset, 'datasets', None)
    if inner is None:
        inner = [dataset.dataset] if hasattr(dataset, 'dataset') else []
    return [dataset, *(part for one in inner for part in _parts(one))]


def _checkpoint_rows(runner: Runner) -> Iterator[tuple[bool, str]]:
    model, loop = detector_of(runner), runner.train_loop
    name = type(model).__name__
    stages = _names(stages_of(model))
    names = (None if runner.val_loop is None else reported_metrics(
        runner.val_loop.evaluator))
    for hook in runner.hooks:
        kind = type(hook).__name__
        if isinstance(hook, EarlyStoppingHook):
            yield names is not None and hook.monitor not in names, (
                f'`monitor` of the {kind} is "{hook.monitor}", but the '
                f'metrics are {", ".join(names or [])}.')
        if not isinstance(hook, CheckpointHook):
            continue
        yield stages != '' and not hook.by_epoch, (
            f'`by_epoch=False` of the {kind} would save {name} before the end '
            f'of an epoch and the {stages}; use by_epoch=True.')
        for best in hook.save_best or []:
            yield names is not None and best not in ('auto', *names), (
                f'`save_best` of the {kind} names "{best}", but the metrics '
                f'are {", ".join(names or [])}.')
        yield bool(hook.save_best) and runner.val_loop is None, (
            f'`save_best` of the {kind} needs a validation, and there is '
            'none; leave it out.')
        saved = _saved_epochs(hook, loop)
        if saved is None or hook.save_best:
            continue
        if FitAfterTrainHook in stages_of(model):
            saved = [
                epoch for epoch in saved
                if epoch == loop.max_epochs or validation_is_due(loop, epoch)
            ]
        yield loop.max_epochs > 0 and not saved, (
            f'the {kind} would save no '
            f'{"fitted " if stages else ""}checkpoint of the '
            f'{loop.max_epochs} epoch(s); mind `interval`, `save_begin` and '
            '`save_last` of `default_hooks.checkpoint`.')


def _saved_epochs(hook: CheckpointHook, loop) -> list[int] | None:
    """The epochs that a hook saves, from 1; None where iterations count."""
    if not hook.by_epoch or not isinstance(loop, EpochBasedTrainLoop):
        return None
    return [
        epoch for epoch in range(1, loop.max_epochs + 1)
        if (hook.save_last and epoch == loop.max_epochs) or (
            hook.interval > 0 and epoch >= hook.save_begin and
            (epoch - hook.save_begin) % hook.interval == 0)
    ]


def _stage_of(hook: Hook) -> type[Hook]:
    return next(stage for stage in _STAGES if isinstance(hook, stage))


def _names(stages: list[type[Hook]]) -> str:
    return ' and '.join(stage.__name__ for stage in stages)
