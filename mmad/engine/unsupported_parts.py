"""Check a config for parts of MMEngine that mmad does not support."""
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS

# What MMEngine's back ends of the visualizer import once they write.
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
    """Refuse parts of MMEngine that mmad's models do not go with.

    Args:
        cfg (Config): Of a run.

    Raises:
        InputError: A part is refused or needs a package that is not
            installed. The sentence says what to change.
    """
    for is_wrong, sentence in _rows(cfg):
        if is_wrong:
            raise InputError(sentence)


def _rows(cfg: Config) -> Iterator[tuple[bool, str]]:
    backends = _dict(cfg.get('visualizer')).get('vis_backends') or []
    if not isinstance(backends, list | tuple):
        backends = [backends]
    for kind in map(_type, backends):
        for package in _PACKAGES.get(kind, ()):
            yield find_spec(package) is None, (
                f'`visualizer.vis_backends` has the {kind}, which needs the '
                f'package {package}; install it (pip install {package}) or '
                'use LocalVisBackend.')
    for hook in _hooks(cfg):
        if _type(hook) != 'ProfilerHook':
            continue
        ready = _type(hook.get('on_trace_ready'))
        yield ready == 'tb_trace' and find_spec('torch_tb_profiler') is None, (
            '`on_trace_ready` of the ProfilerHook is "tb_trace", which needs '
            'the package torch_tb_profiler; install it (pip install '
            'torch-tb-profiler) or use "log_trace".')

    yield (
        _type(cfg.get('runner_type')) not in ('', 'Runner')
        or cfg.get('strategy') is not None
    ), ('`runner_type` and `strategy` ask for another runner, such as '
        'FlexibleRunner, and mmad is driven by MMEngine\'s Runner; leave both '
        'out.')
    wrapper = _type(cfg.get('model_wrapper_cfg'))
    yield wrapper == 'MMFullyShardedDataParallel', (
        f'`model_wrapper_cfg` is {wrapper}, which cuts up a model, and what '
        'mmad fits is kept whole in each process; use '
        'MMDistributedDataParallel, or MMSeparateDistributedDataParallel for '
        'a method without an optimizer.')
    yield bool(cfg.get('activation_checkpointing')), (
        '`activation_checkpointing` needs inputs that take gradients, and '
        'images take none; leave it out, and use smaller batches with '
        '`accumulative_counts` where memory is short.')
    for name in _LOADERS:
        for dataset in _wrappers(_dict(cfg.get(name)).get('dataset')):
            wrapper = _type(dataset)
            is_test = name != 'train_dataloader'
            yield is_test and wrapper in _REPEATING, (
                f'`{name}.dataset` has a {wrapper}, which would score, count '
                'and draw an image several times; use the data set inside '
                'it.')
            inner = _dict(dataset).get('dataset')
            yield wrapper == 'ClassBalancedDataset' and not _has_classes(
                inner), (
                    f'`{name}.dataset` has a ClassBalancedDataset, but the '
                    f'{_type(inner)} inside it has no classes to balance (no '
                    '`get_cat_ids`); use the data set inside it.')

    optim = cfg.get('optim_wrapper')
    lonely = isinstance(
        optim, dict) and not {'type', 'optimizer', 'constructor'} & set(optim)
    yield lonely and bool(optim), (
        f'`optim_wrapper` has {", ".join(_dict(optim))} and no `optimizer`: '
        'nothing is trained by gradients here; leave `optim_wrapper` empty.')
    scaled = _dict(cfg.get('auto_scale_lr')).get('enable')
    yield bool(scaled) and not optim, (
        '`auto_scale_lr` is enabled and there is no `optimizer` whose '
        'learning rate it could scale; leave it out.')
    yield bool(cfg.get('param_scheduler')) and not optim, (
        '`param_scheduler` is set and there is no `optimizer` whose learning '
        'rate it could change; leave it out.')


def _hooks(cfg: Config) -> list[dict]:
    hooks = list(_dict(cfg.get('default_hooks')).values())
    if isinstance(cfg.get('custom_hooks'), list | tuple):
        hooks += cfg.custom_hooks
    return [hook for hook in hooks if isinstance(hook, dict)]


def _wrappers(dataset: Any) -> Iterator[dict]:
    """The configs of the wrappers around data sets, from the outside in."""
    dataset = _dict(dataset)
    inner = dataset.get('datasets', dataset.get('dataset'))
    if inner is None:
        return
    yield dataset
    for part in inner if isinstance(inner, list | tuple) else [inner]:
        yield from _wrappers(part)


def _has_classes(dataset: Any) -> bool:
    """Whether the class of a data set tells the classes of its images."""
    found = _dict(dataset).get('type')
    if isinstance(found, str):
        found = DATASETS.get(found)
    method = getattr(found, 'get_cat_ids', None)
    return method not in (None, BaseDataset.get_cat_ids)


def _dict(part: Any) -> dict:
    """A part, or nothing where it is something else: built, or amiss."""
    return part if isinstance(part, dict) else {}


def _type(part: Any) -> str:
    """The name of a part's type, without scope or module."""
    kind = part.get('type') if isinstance(part, dict) else part
    kind = getattr(kind, '__name__', kind)
    return '' if kind is None else str(kind).rpartition('.')[2]
