"""Check a config for parts of MMEngine that mmad does not support."""
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS

# The packages that the visualizer back ends of MMEngine import when they
# write for the first time.
_PACKAGES = dict(
    TensorboardVisBackend=('tensorboard', ),
    WandbVisBackend=('wandb', ),
    MLflowVisBackend=('mlflow', ),
    ClearMLVisBackend=('clearml', ),
    NeptuneVisBackend=('neptune', ),
    DVCLiveVisBackend=('dvclive', 'pygit2'),
    AimVisBackend=('aim', ))
_REPEATING = ('ClassBalancedDataset', 'RepeatDataset')
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def refuse_unsupported(cfg: Config) -> None:
    """Refuse parts of MMEngine that do not work with the models of mmad.

    Args:
        cfg (Config): Config of a run.

    Raises:
        InputError: If a part is not supported, or needs a package that is not
            installed. The message says what to change.
    """
    for is_wrong, sentence in _problems(cfg):
        if is_wrong:
            raise InputError(sentence)


def _problems(cfg: Config) -> Iterator[tuple[bool, str]]:
    """Yield for each possible problem whether it occurs, and its message."""
    backends = _as_dict(cfg.get('visualizer')).get('vis_backends') or []
    if not isinstance(backends, list | tuple):
        backends = [backends]
    for kind in map(_type_name, backends):
        for package in _PACKAGES.get(kind, ()):
            yield find_spec(package) is None, (
                f'`visualizer.vis_backends` has the {kind}, which needs the '
                f'package {package}; install it (pip install {package}) or '
                'use LocalVisBackend.')
    for hook in _configured_hooks(cfg):
        if _type_name(hook) != 'ProfilerHook':
            continue
        ready = _type_name(hook.get('on_trace_ready'))
        yield ready == 'tb_trace' and find_spec('torch_tb_profiler') is None, (
            '`on_trace_ready` of the ProfilerHook is "tb_trace", which needs '
            'the package torch_tb_profiler; install it (pip install '
            'torch-tb-profiler) or use "log_trace".')

    yield (
        _type_name(cfg.get('runner_type')) not in ('', 'Runner')
        or cfg.get('strategy') is not None
    ), ('`runner_type` and `strategy` ask for another runner, such as '
        'FlexibleRunner, but mmad needs the Runner of MMEngine; leave both '
        'out.')
    wrapper = _type_name(cfg.get('model_wrapper_cfg'))
    yield wrapper == 'MMFullyShardedDataParallel', (
        f'`model_wrapper_cfg` is {wrapper}, which divides a model among the '
        'processes, but mmad keeps the whole model in each process; use '
        'MMDistributedDataParallel, or MMSeparateDistributedDataParallel for '
        'a method without an optimizer.')
    yield bool(cfg.get('activation_checkpointing')), (
        '`activation_checkpointing` needs inputs that require gradients, and '
        'images do not; leave it out, and use smaller batches with '
        '`accumulative_counts` if memory is short.')
    for name in _LOADERS:
        for dataset in _dataset_wrappers(
                _as_dict(cfg.get(name)).get('dataset')):
            wrapper = _type_name(dataset)
            is_test = name != 'train_dataloader'
            yield is_test and wrapper in _REPEATING, (
                f'`{name}.dataset` has a {wrapper}, which would score, count '
                'and draw images several times; use the data set inside it.')
            inner = _as_dict(dataset).get('dataset')
            yield wrapper == 'ClassBalancedDataset' and not _has_classes(
                inner
            ), (f'`{name}.dataset` has a ClassBalancedDataset, but the '
                f'{_type_name(inner)} inside it has no classes to balance (no '
                '`get_cat_ids`); use the data set inside it.')

    optim = cfg.get('optim_wrapper')
    lacks_optimizer = isinstance(
        optim, dict) and not {'type', 'optimizer', 'constructor'} & set(optim)
    yield lacks_optimizer and bool(optim), (
        f'`optim_wrapper` has {", ".join(_as_dict(optim))} but no '
        '`optimizer`, so nothing is trained by gradients; leave '
        '`optim_wrapper` empty.')
    scaled = _as_dict(cfg.get('auto_scale_lr')).get('enable')
    yield bool(scaled) and not optim, (
        '`auto_scale_lr` is enabled, but there is no `optimizer` whose '
        'learning rate it could scale; leave it out.')
    yield bool(cfg.get('param_scheduler')) and not optim, (
        '`param_scheduler` is set, but there is no `optimizer` whose learning '
        'rate it could change; leave it out.')


def _configured_hooks(cfg: Config) -> list[dict]:
    """Return the configs of the default and the custom hooks."""
    hooks = list(_as_dict(cfg.get('default_hooks')).values())
    if isinstance(cfg.get('custom_hooks'), list | tuple):
        hooks += cfg.custom_hooks
    return [hook for hook in hooks if isinstance(hook, dict)]


def _dataset_wrappers(dataset: Any) -> Iterator[dict]:
    """Yield the configs of wrappers around data sets, outermost first."""
    dataset = _as_dict(dataset)
    inner = dataset.get('datasets', dataset.get('dataset'))
    if inner is None:
        return
    yield dataset
    for part in inner if isinstance(inner, list | tuple) else [inner]:
        yield from _dataset_wrappers(part)


def _has_classes(dataset: Any) -> bool:
    """Return whether a data set knows the classes of its images."""
    found = _as_dict(dataset).get('type')
    if isinstance(found, str):
        found = DATASETS.get(found)
    method = getattr(found, 'get_cat_ids', None)
    return method not in (None, BaseDataset.get_cat_ids)


def _as_dict(part: Any) -> dict:
    """Return a part of a config, or an empty dict if it is no dict."""
    return part if isinstance(part, dict) else {}


def _type_name(part: Any) -> str:
    """Return the name of the type of a part, without scope or module."""
    kind = part.get('type') if isinstance(part, dict) else part
    kind = getattr(kind, '__name__', kind)
    return '' if kind is None else str(kind).rpartition('.')[2]
