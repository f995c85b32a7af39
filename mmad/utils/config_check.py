"""Check a whole config before anything is built from it."""
import inspect
from collections.abc import Collection

from mmengine.config import Config, ConfigDict
from mmengine.dist import init_dist
from mmengine.registry import init_default_scope
from mmengine.runner import Priority, Runner, get_priority
from mmengine.utils.dl_utils import set_multi_processing
from torch.distributed import init_process_group
from torch.utils.data import DataLoader

from mmad.errors import InputError
from mmad.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    FUNCTIONS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    VISUALIZERS,
)

from .arguments import check_choice, check_flag
from .config_file import nearest
from .config_parts import (
    check_integer,
    check_keys,
    check_part,
    find_type,
    short_repr,
)
from .config_training import check_training
from .setup_env import dist_timeouts

SPLITS = ('train', 'val', 'test')
_NONE = type(None)
_PLAIN: dict[str, tuple[type, ...]] = dict(
    model=(dict, ),
    train_dataloader=(dict, _NONE),
    val_dataloader=(dict, _NONE),
    test_dataloader=(dict, _NONE),
    train_cfg=(dict, _NONE),
    val_cfg=(dict, _NONE),
    test_cfg=(dict, _NONE),
    optim_wrapper=(dict, _NONE),
    param_scheduler=(dict, list, tuple, _NONE),
    val_evaluator=(dict, list, _NONE),
    test_evaluator=(dict, list, _NONE),
    default_hooks=(dict, _NONE),
    custom_hooks=(list, tuple, _NONE),
    data_preprocessor=(dict, _NONE),
    model_wrapper_cfg=(dict, _NONE),
    auto_scale_lr=(dict, _NONE),
    env_cfg=(dict, ),
    log_processor=(dict, _NONE),
    visualizer=(dict, _NONE),
    randomness=(dict, ),
    compile=(dict, bool, _NONE),
    work_dir=(str, _NONE),
    load_from=(str, _NONE),
    log_level=(str, int),
    launcher=(str, ),
    default_scope=(str, ),
    experiment_name=(str, _NONE),
    resume=(bool, ),
    find_unused_parameters=(bool, ),
    activation_checkpointing=(str, list, tuple, _NONE),
    efficient_conv_bn_eval=(str, list, tuple, _NONE),
)
_LEVELS = ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG', 'NOTSET')


def check_entry_types(cfg: Config) -> None:
    """Check the types of the top-level entries of a config.

    Raises:
        InputError: If an entry has the wrong type, or a loader no data set.
    """
    for key, kinds in _PLAIN.items():
        if key in cfg and not isinstance(cfg[key], kinds):
            wanted = ' or '.join('None' if kind is _NONE else kind.__name__
                                 for kind in kinds)
            raise InputError(f'`{key}` of the config must be {wanted}, got '
                             f'{short_repr(cfg[key])}.')
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None and not isinstance(loader.get('dataset'), dict):
            raise InputError(
                f'`{split}_dataloader.dataset` of the config must be a dict '
                f'with a `type`, got {short_repr(loader.get("dataset"))}.')


def check_config(cfg: Config, needs: Collection[str] = ()) -> None:
    """Check every part of a config against the class that it configures.

    Args:
        cfg (Config): Config that has passed :func:`check_entry_types`.
        needs (Collection[str]): Which of ``'train'`` and ``'test'`` it must
            have the entries for.

    Raises:
        InputError: If an entry is missing, names a class that does not exist,
            has a key that nothing reads, or a value of the wrong type or
            range.
    """
    init_default_scope('mmad')
    _check_complete(cfg, needs)
    if 'model' in cfg:
        check_part('model', cfg.model, MODELS)
    for split in SPLITS:
        key = f'{split}_dataloader'
        if cfg.get(key) is not None:
            _check_loader(key, cfg[key])
        _check_loop(f'{split}_cfg', cfg.get(f'{split}_cfg'))
        _check_evaluator(f'{split}_evaluator', cfg.get(f'{split}_evaluator'))
    check_training(cfg)
    _check_hooks(cfg)
    if cfg.get('data_preprocessor') is not None:
        check_part('data_preprocessor', cfg.data_preprocessor, MODELS)
    if cfg.get('visualizer') is not None:
        check_part('visualizer', cfg.visualizer, VISUALIZERS,
                   ('name', 'save_dir'))
    if cfg.get('log_processor') is not None:
        check_part(
            'log_processor',
            cfg.log_processor,
            LOG_PROCESSORS,
            default_type='LogProcessor')
    if cfg.get('model_wrapper_cfg') is not None:
        check_part(
            'model_wrapper_cfg',
            cfg.model_wrapper_cfg,
            MODEL_WRAPPERS, ('module', ),
            default_type='MMDistributedDataParallel')
    _check_environment(cfg)


def _check_complete(cfg: Config, needs: Collection[str]) -> None:
    groups = dict(
        train=('train_dataloader', 'train_cfg', 'optim_wrapper'),
        val=('val_dataloader', 'val_cfg', 'val_evaluator'),
        test=('test_dataloader', 'test_cfg', 'test_evaluator'))
    if needs and 'model' not in cfg:
        raise InputError('the config has no `model`; inherit from a config '
                         'of configs/ with `_base_`.')
    for split, keys in groups.items():
        missing = [key for key in keys if cfg.get(key) is None]
        if missing and (split in needs or len(missing) < len(keys)):
            rest = [key for key in keys if key not in missing]
            why = (f'which goes with `{rest[0]}`'
                   if rest else f'so there is nothing to {split} with')
            raise InputError(
                f'the config has no `{missing[0]}`, {why}; inherit it from a '
                'file of configs/_base_/, or set all of '
                f'{", ".join(keys)} to None.')


def _check_loader(place: str, loader: ConfigDict) -> None:
    known = set(inspect.signature(DataLoader).parameters) | {
        'num_batch_per_epoch', 'worker_init_fn', 'disable_subprocess_warning'
    }
    check_keys(place, loader, known)
    check_part(f'{place}.dataset', loader.dataset, DATASETS)
    if loader.get('sampler') is None:
        raise InputError(f'`{place}` of the config has no `sampler`; set '
                         "sampler=dict(type='DefaultSampler', "
                         'shuffle=False).')
    check_part(f'{place}.sampler', loader.sampler, DATA_SAMPLERS,
               ('dataset', 'seed'))
    if loader.get('batch_sampler') is not None:
        check_part(f'{place}.batch_sampler', loader.batch_sampler,
                   DATA_SAMPLERS, ('sampler', 'batch_size'))
    for key in ('collate_fn', 'worker_init_fn'):
        if key in loader and not callable(loader[key]):
            if not isinstance(loader[key], dict):
                raise InputError(f'`{place}.{key}` of the config must be a '
                                 f'dict, got {short_repr(loader[key])}.')
            find_type(f'{place}.{key}', loader[key], FUNCTIONS)
    for key, least in dict(
            batch_size=1,
            num_workers=0,
            prefetch_factor=1,
            timeout=0,
            num_batch_per_epoch=1).items():
        check_integer(place, loader, key, least)
    for key in ('drop_last', 'pin_memory', 'persistent_workers'):
        check_flag(f'{place}.{key}', loader.get(key, False))
    for key in ('prefetch_factor', 'timeout'):
        if loader.get(key) and not loader.get('num_workers'):
            raise InputError(f'`{place}.{key}` of the config is for '
                             'num_workers of at least 1; leave it out.')


def _check_loop(place: str, loop: dict | None) -> None:
    if not loop:
        return
    given, extra = {'runner', 'dataloader', 'evaluator'}, set()
    default = dict(val_cfg='ValLoop', test_cfg='TestLoop').get(place)
    if place == 'train_cfg' and 'type' not in loop:
        if 'by_epoch' not in loop:
            raise InputError('`train_cfg` of the config needs a `type`, such '
                             'as "EpochBasedTrainLoop", or `by_epoch`.')
        extra = {'by_epoch'}
        default = ('EpochBasedTrainLoop'
                   if loop['by_epoch'] else 'IterBasedTrainLoop')
    check_part(place, loop, LOOPS, given, extra, default)
    for key, least in dict(
            max_epochs=1, max_iters=1, val_interval=1, val_begin=0).items():
        check_integer(place, loop, key, least)


def _check_evaluator(place: str, evaluator: object) -> None:
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        check_part(place, evaluator, EVALUATOR, default_type='Evaluator')
        place, evaluator = f'{place}.metrics', evaluator['metrics']
    if isinstance(evaluator, dict):
        check_part(place, evaluator, METRICS)
    elif evaluator is not None:
        if not isinstance(evaluator, list | tuple) or not evaluator:
            raise InputError(f'`{place}` of the config must be a list of '
                             f'metrics, got {short_repr(evaluator)}.')
        for index, metric in enumerate(evaluator):
            check_part(f'{place}.{index}', metric, METRICS)
            others = [
                other for other in evaluator[:index]
                if _reports_alike(metric, other)
            ]
            if others:
                raise InputError(
                    f'`{place}` of the config has two {metric["type"]} whose '
                    'values would have the same names; set `prefix` of one.')


def _reports_alike(metric: dict, other: dict) -> bool:
    kinds = [find_type('', one, METRICS) for one in (metric, other)]
    # The names that metrics of other packages report are not known.
    return (kinds[0] is kinds[1] and kinds[0].__module__.startswith('mmad.')
            and (metric.get('prefix') or '') == (other.get('prefix') or ''))


def _check_hooks(cfg: Config) -> None:
    hooks = {
        f'default_hooks.{name}': hook
        for name, hook in (cfg.get('default_hooks') or {}).items()
        if hook is not None
    }
    for name, hook in hooks.items():
        if isinstance(hook, dict) and 'type' not in hook:
            others = [
                other.split('.', 1)[1] for other in hooks if other != name
            ]
            raise InputError(f'`{name}` of the config has no `type`; ' +
                             nearest(name.split('.', 1)[1], others))
    hooks.update((f'custom_hooks.{index}', hook)
                 for index, hook in enumerate(cfg.get('custom_hooks') or ()))
    for place, hook in hooks.items():
        check_part(place, hook, HOOKS, extra=('priority', ))
        try:
            get_priority(hook.get('priority', 'NORMAL'))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f'`{place}.priority` of the config must be a number from 0 to '
                f'100 or one of {", ".join(Priority.__members__)}, got '
                f'{short_repr(hook["priority"])}.') from error


def _check_environment(cfg: Config) -> None:
    env = cfg.get('env_cfg') or {}
    check_keys('env_cfg', env, ('cudnn_benchmark', 'mp_cfg', 'dist_cfg',
                                'dist_timeout', 'resource_limit'))
    check_integer('env_cfg', env, 'resource_limit', 1)
    mp_cfg = env.get('mp_cfg') or {}
    check_keys(
        'env_cfg.mp_cfg', mp_cfg,
        set(inspect.signature(set_multi_processing).parameters) -
        {'distributed'})
    check_choice('env_cfg.mp_cfg.mp_start_method',
                 mp_cfg.get('mp_start_method', 'fork'),
                 ('fork', 'spawn', 'forkserver'))
    check_integer('env_cfg.mp_cfg', mp_cfg, 'opencv_num_threads', 0)
    known = {'port'}.union(*(inspect.signature(function).parameters
                             for function in (init_dist, init_process_group)))
    check_keys('env_cfg.dist_cfg',
               env.get('dist_cfg') or {}, known - {'launcher', 'kwargs'})
    dist_timeouts(env)
    randomness = cfg.get('randomness') or {}
    check_keys(
        'randomness', randomness,
        set(inspect.signature(Runner.set_randomness).parameters) - {'self'})
    if 'randomness' in cfg and 'seed' not in randomness:
        raise InputError('`randomness` of the config has no `seed`; set it '
                         'there, or set it to None for a new seed in each '
                         'run.')
    check_integer('randomness', randomness, 'seed', 0, below=2**32)
    if cfg.get('sync_bn') not in (None, 'torch', 'mmcv'):
        raise InputError('`sync_bn` of the config must be None, "torch" or '
                         f'"mmcv", got {short_repr(cfg.sync_bn)}.')
    level = cfg.get('log_level', 'INFO')
    if isinstance(level, str):
        check_choice('log_level', level, _LEVELS)
