import copy
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_state_dict

from mmad.errors import InputError, printable
from mmad.models import BaseDetector
from mmad.registry import MODELS
from mmad.utils import load_checkpoint
from mmad.utils.config_file import is_module_name, read_config
from mmad.utils.weights import forget_weights

from .building import limit_building
from .stored_config import read_stored_config


def init_model(
    checkpoint: str | Path,
    config: str | Path | Config | None = None,
    device: str | torch.device | None = None,
    modules: str | Sequence[str] = ()
) -> BaseDetector:
    """Build a detector from a checkpoint, ready to predict.

    Nothing of it outlasts the call: MMEngine's default scope, its loader of
    checkpoints and its file back ends stay as the process has them.

    Args:
        checkpoint (str | Path): Written by ``tools/train.py``. It is complete
            in itself: nothing is downloaded.
        config (str | Path | Config, optional): A config file is code, and is
            trusted. Defaults to None: the config in the checkpoint, which is
            read as data and may only name classes of mmad.
        device (str | torch.device, optional): Defaults to None: CUDA if there
            is any.
        modules (str | Sequence[str]): Names of modules to import, whose
            registered classes the config in the checkpoint may name as well.
            Defaults to none.

    Returns:
        BaseDetector: In evaluation mode, with its config as ``.cfg``; of the
        one in the checkpoint that is the model and the test pipeline.

    Raises:
        InputError: The checkpoint is missing, broken, unsafe or of another
            model, or another argument cannot be used.
    """
    device = _find_device(device)
    modules = _import(modules)
    state = load_checkpoint(str(checkpoint), map_location='cpu')
    with DefaultScope.overwrite_default_scope('mmad'):
        if config is None:
            model, config = _from_stored(state, str(checkpoint), modules)
        else:
            model, config = _from_given(config, str(checkpoint))
    _load(model, state.get('state_dict'), str(checkpoint))
    model.cfg = config
    return model.to(device).eval()


def _from_stored(state: dict, checkpoint: str,
                 modules: Sequence[str]) -> tuple[BaseDetector, Config]:
    meta = state.get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    if text is None:
        raise InputError(f'checkpoint "{checkpoint}" stores no config; give '
                         'one with `config=`.')
    config = read_stored_config(text, checkpoint, modules)
    try:
        forget_weights(config.model)
        with limit_building():
            return MODELS.build(config.model), config
    except InputError as error:
        raise InputError(f'the config stored in checkpoint "{checkpoint}" is '
                         f'refused: {error}') from error
    # Its values come from a file, which anybody may have written: whatever is
    # wrong with them is not a fault of the code.
    except Exception as error:
        raise InputError(
            f'the model of the config stored in checkpoint "{checkpoint}" '
            f'cannot be built ({first_line(error)}); give the config file '
            'with `config=`.') from error


def _from_given(config: str | Path | Config,
                checkpoint: str) -> tuple[BaseDetector, Config]:
    if not isinstance(config, Config | str | Path):
        raise InputError('`config` must be the path of a config file or a '
                         f'Config of MMEngine, got a {type(config).__name__}.')
    if isinstance(config, Config):
        name, config = 'the given config', copy.deepcopy(config)
    else:
        name, config = f'config "{config}"', read_config(config)
    if not isinstance(config.get('model'), Mapping):
        raise InputError(f'{name} has no `model`.')
    forget_weights(config.model)
    try:
        model = MODELS.build(config.model)
    except KeyError as error:
        if 'registry' not in str(error):
            raise
        raise InputError(
            f'{name} names a class that is not registered '
            f'({first_line(error)}); mind the spelling, or name the module '
            'that defines it with `modules=`.') from error
    if not isinstance(model, BaseDetector):
        raise InputError(
            f'checkpoint "{checkpoint}" is of a {type(model).__name__}, which '
            'is no detector and cannot predict.')
    return model, config


def _load(model: BaseDetector, state: object, checkpoint: str) -> None:
    if not isinstance(state, Mapping) or not state:
        raise InputError(
            f'checkpoint "{checkpoint}" holds no fitted state; it must be one '
            'that tools/train.py wrote.')
    try:
        load_state_dict(model, state, strict=True)
    except InputError as error:
        raise InputError(f'checkpoint "{checkpoint}": {error}') from error
    # What torch and a model's own loading say of a state that is not theirs,
    # up to a lack of memory.
    except Exception as error:
        raise InputError(
            f'the state of checkpoint "{checkpoint}" does not fit its '
            f'{type(model).__name__} ({first_line(error)}); it is damaged or '
            'of another model: fit again, or give the config that it was '
            'fitted with.') from error


def _import(modules: str | Sequence[str]) -> list[str]:
    modules = [modules] if isinstance(modules, str) else modules
    if not isinstance(modules, Sequence) or not all(
            map(is_module_name, modules)):
        raise InputError('`modules` must be names of modules, such as '
                         f'"my_package.detectors", got {modules!r}.')
    modules = list(modules)
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(
                f'module "{name}" of `modules` cannot be imported ({error}); '
                'its folder must be on PYTHONPATH.') from error
    return modules


def _find_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).cpu()
    # As torch says that it does not know a device, or lacks it.
    except (AssertionError, ImportError, NotImplementedError, RuntimeError,
            TypeError) as error:
        raise InputError(f'the device "{device}" cannot be used here '
                         f'({first_line(error)}); use "cpu", or leave it '
                         'out.') from error
    return found


def first_line(error: Exception) -> str:
    """The type of an error and the beginning of its message, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # torch names what is wrong below the heading.
    text = printable(' '.join(lines[:2]))
    return f'{type(error).__name__}: {text[:300]}'.rstrip(': .')
