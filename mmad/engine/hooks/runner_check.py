"""Check a runner before it starts training."""
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
from mmad.models import BaseDetector, FitDetector, UninformedStudents
from mmad.utils.inner_datasets import inner_datasets

from .calibration_hook import CalibrationHook, can_leave_out
from .fit_after_train_hook import FitAfterTrainHook
from .fit_hook import FitHook
from .hook_utils import get_detector, get_fit_state, validation_is_due
from .metric_rules import reported_metrics
from .student_statistics_hook import StudentStatisticsHook
from .sync_norm_hook import SyncNormHook
from .teacher_statistics_hook import TeacherStatisticsHook

_FIT_HOOKS = (FitAfterTrainHook, FitHook, TeacherStatisticsHook,
              StudentStatisticsHook)


def check_runner(runner: Runner) -> None:
    """Refuse a training that could not end with a fitted checkpoint.

    :class:`~mmad.engine.hooks.CheckpointHook` calls this function before each
    training, however the runner was built.

    Args:
        runner (Runner): Runner that is about to train.

    Raises:
        InputError: If a hook of the method is missing, runs too late or
            conflicts with another hook, or if the loop, the data loader or
            the checkpoints do not suit the method. The message says what to
            change.
    """
    for find_problems in (_hook_problems, _loop_problems, _data_problems,
                          _checkpoint_problems):
        for is_wrong, sentence in find_problems(runner):
            if is_wrong:
                raise InputError(sentence)


def required_hooks(model: nn.Module) -> list[type[Hook]]:
    """Return the hooks without which a model would not end up fitted."""
    if isinstance(model, UninformedStudents):
        return [TeacherStatisticsHook, StudentStatisticsHook]
    if isinstance(model, FitDetector):
        return [FitAfterTrainHook if model.needs_training else FitHook]
    return []


def _hook_problems(runner: Runner) -> Iterator[tuple[bool, str]]:
    """Yield for each possible problem whether it occurs, and its message."""
    model = get_detector(runner)
    name = type(model).__name__
    needed = required_hooks(model)
    has_state = get_fit_state(model) is not None
    hooks = runner.hooks
    given = [
        _fit_hook_type(hook) for hook in hooks if isinstance(hook, _FIT_HOOKS)
    ]
    for hook_type in needed:
        other = [hook for hook in given if hook not in needed]
        yield hook_type not in given and not other, (
            f'{name} needs the {hook_type.__name__}, which is missing in '
            '`custom_hooks` (a list of your own replaces that of the base '
            f'config); add dict(type="{hook_type.__name__}") to it.')
        yield hook_type not in given, (
            f'{name} as configured needs the {hook_type.__name__}, but '
            f'`custom_hooks` has the {_hook_names(other)}; put '
            f'dict(type="{hook_type.__name__}") in its place.')
        yield given.count(hook_type) > 1, (
            f'`custom_hooks` has the {hook_type.__name__} twice; leave one '
            'out.')
    for hook_type in given:
        yield hook_type not in needed and has_state, (
            f'`custom_hooks` has the {hook_type.__name__}, which is not for '
            f'{name} as configured; leave it out.')

    for hook in hooks:
        hook_name = type(hook).__name__
        late = [
            _fit_hook_type(other) for other in hooks[hooks.index(hook):]
            if isinstance(other, _FIT_HOOKS)
        ]
        yield isinstance(hook, CheckpointHook) and bool(late), (
            f'the {_hook_names(late)} comes after the {hook_name} by its '
            '`priority`, so an unfitted state would be saved; leave the '
            'priorities at their defaults.')
        early = [
            other for other in hooks[:hooks.index(hook)]
            if isinstance(other, FitAfterTrainHook)
        ]
        yield isinstance(hook, SyncNormHook) and bool(early), (
            f'the FitAfterTrainHook comes before the {hook_name} by its '
            '`priority`, so the processes would fit to different features; '
            'leave the priorities at their defaults.')
        yield isinstance(hook, EMAHook) and bool(needed), (
            f'the {hook_name} does not go with {name}, whose '
            f'{_hook_names(needed)} would use the weights that are not '
            'averaged; leave it out.')
        yield isinstance(hook, EMAHook) and _calibrates(runner), (
            f'the {hook_name} does not go with the CalibrationHook, whose '
            'thresholds would be those of the weights that are not averaged; '
            'set `default_hooks.calibration.method="off"`.')
        yield (isinstance(hook, SyncBuffersHook) and has_state), (
            f'the {hook_name} would average all buffers, including those that '
            'are not statistics; use dict(type="SyncNormHook") in its place.')
    yield (isinstance(model, BaseDetector) and bool(model.combined)
           and not _calibrates(runner)), (
               f'{name} combines scores on the scales of normal images, which '
               'the CalibrationHook finds, but it is missing, off, or cannot '
               'leave an image out of the fit; set '
               '`default_hooks.calibration.method` to "auto" or "held_out".')
    has_own_statistics = get_world_size() > 1 and has_state and any(
        isinstance(module, _BatchNorm) and module.track_running_stats
        and not isinstance(module, nn.SyncBatchNorm)
        and module.weight is not None and module.weight.requires_grad
        for module in model.modules())
    synced = any(isinstance(hook, SyncNormHook) for hook in hooks)
    yield has_own_statistics and not synced, (
        f'{name} has batch normalization, whose statistics would differ '
        'between the processes; add dict(type="SyncNormHook") to '
        '`custom_hooks`.')
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    yield has_own_statistics and not by_epoch, (
        f'{name} has batch normalization, whose statistics the SyncNormHook '
        'averages over the processes at the end of each epoch; use '
        'EpochBasedTrainLoop, or one process.')


def _calibrates(runner: Runner) -> bool:
    return any(
        isinstance(hook, CalibrationHook) and (hook.method == 'held_out' or (
            hook.leaves_out and can_leave_out(get_detector(runner))))
        for hook in runner.hooks)


def _loop_problems(runner: Runner) -> Iterator[tuple[bool, str]]:
    model, loop = get_detector(runner), runner.train_loop
    name = type(model).__name__
    needed = _hook_names(required_hooks(model))
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    yield not by_epoch and needed != '', (
        f'{name} needs epochs for the {needed}, but `train_cfg.type` is '
        f'{type(loop).__name__}; use EpochBasedTrainLoop.')
    yield not by_epoch and _calibrates(runner), (
        'the CalibrationHook needs epochs, but `train_cfg.type` is '
        f'{type(loop).__name__}; use EpochBasedTrainLoop, or set '
        '`default_hooks.calibration.method="off"`.')
    yield loop.max_epochs < 1 or loop.max_iters < 1, (
        f'there would be not one step of training, with {loop.max_epochs} '
        f'epoch(s) of {len(loop.dataloader)} batch(es); check `max_epochs` or '
        '`max_iters` of `train_cfg`, and `drop_last` of `train_dataloader`.')
    if by_epoch and needed == 'FitHook' and runner.val_loop is not None:
        early = [
            epoch for epoch in range(1, loop.max_epochs)
            if validation_is_due(loop, epoch)
        ]
        yield bool(early) and loop.max_epochs == model.num_passes, (
            f'a validation is due after epoch {(early or [0])[0]}, but {name} '
            f'is fitted after epoch {loop.max_epochs}; set '
            f'`train_cfg.val_interval={loop.max_epochs}`.')


def _data_problems(runner: Runner) -> Iterator[tuple[bool, str]]:
    model, loop = get_detector(runner), runner.train_loop
    name = type(model).__name__
    loader = loop.dataloader
    dataset = loader.dataset
    yield (isinstance(loop, EpochBasedTrainLoop) and isinstance(
        loader.sampler, InfiniteSampler)), (
            'the `sampler` of `train_dataloader` is an InfiniteSampler, with '
            'which an epoch never ends; use DefaultSampler.')
    unsuitable = [
        type(part).__name__ for part in _with_inner_datasets(dataset)
        if isinstance(part, ClassBalancedDataset | RepeatDataset) or (
            isinstance(model, FitDetector)
            and isinstance(part, MMEngineConcatDataset)
            and not isinstance(part, ConcatDataset) and len(part.datasets) > 1)
    ]
    yield bool(required_hooks(model)) and bool(unsuitable), (
        f'{name} needs each training image once, with an index of its own, '
        f'which {"".join(unsuitable[:1])} does not ensure; use one data set '
        'without it.')
    yield bool(required_hooks(model)) and any(
        getattr(inner, 'max_refetch', 0) for inner in inner_datasets(dataset)
        if isinstance(inner, AnomalyDataset)), (
            f'{name} needs each training image once, but `max_refetch` of the '
            'data set would replace an image that the pipeline leaves out by '
            'another one; leave it at 0.')
    if not isinstance(model, FitDetector):
        return
    yield loader.batch_size is None, (
        '`train_dataloader.batch_sampler` does not go with '
        f'{name}, which needs batches of one size; use `batch_size`.')
    yield loader.drop_last and len(loader.sampler) % loader.batch_size > 0, (
        f'`train_dataloader.drop_last` would leave out images, but {name} is '
        'fitted to each image once; use drop_last=False.')


def _with_inner_datasets(dataset: object) -> list:
    """Return a data set and those that it wraps, outermost first."""
    inner = getattr(dataset, 'datasets', None)
    if inner is None:
        inner = [dataset.dataset] if hasattr(dataset, 'dataset') else []
    return [
        dataset, *(part for one in inner for part in _with_inner_datasets(one))
    ]


def _checkpoint_problems(runner: Runner) -> Iterator[tuple[bool, str]]:
    model, loop = get_detector(runner), runner.train_loop
    name = type(model).__name__
    needed = _hook_names(required_hooks(model))
    names = (None if runner.val_loop is None else reported_metrics(
        runner.val_loop.evaluator))
    for hook in runner.hooks:
        hook_name = type(hook).__name__
        if isinstance(hook, EarlyStoppingHook):
            yield names is not None and hook.monitor not in names, (
                f'`monitor` of the {hook_name} is "{hook.monitor}", but the '
                f'metrics are {", ".join(names or [])}.')
        if not isinstance(hook, CheckpointHook):
            continue
        yield needed != '' and not hook.by_epoch, (
            f'`by_epoch=False` of the {hook_name} would save {name} before '
            f'the end of an epoch and the {needed}; use by_epoch=True.')
        for best in hook.save_best or []:
            yield names is not None and best not in ('auto', *names), (
                f'`save_best` of the {hook_name} names "{best}", but the '
                f'metrics are {", ".join(names or [])}.')
        yield bool(hook.save_best) and runner.val_loop is None, (
            f'`save_best` of the {hook_name} needs a validation, but there is '
            'none; leave it out.')
        saved = _saved_epochs(hook, loop)
        if saved is None or hook.save_best:
            continue
        if FitAfterTrainHook in required_hooks(model):
            saved = [
                epoch for epoch in saved
                if epoch == loop.max_epochs or validation_is_due(loop, epoch)
            ]
        yield loop.max_epochs > 0 and not saved, (
            f'the {hook_name} would save no '
            f'{"fitted " if needed else ""}checkpoint of the '
            f'{loop.max_epochs} epoch(s); check `interval`, `save_begin` and '
            '`save_last` of `default_hooks.checkpoint`.')


def _saved_epochs(hook: CheckpointHook, loop) -> list[int] | None:
    """Return the epochs, from 1, that a hook saves; None by iterations."""
    if not hook.by_epoch or not isinstance(loop, EpochBasedTrainLoop):
        return None
    return [
        epoch for epoch in range(1, loop.max_epochs + 1)
        if (hook.save_last and epoch == loop.max_epochs) or (
            hook.interval > 0 and epoch >= hook.save_begin and
            (epoch - hook.save_begin) % hook.interval == 0)
    ]


def _fit_hook_type(hook: Hook) -> type[Hook]:
    return next(base for base in _FIT_HOOKS if isinstance(hook, base))


def _hook_names(hooks: list[type[Hook]]) -> str:
    return ' and '.join(hook.__name__ for hook in hooks)
