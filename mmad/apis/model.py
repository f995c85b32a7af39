import copy
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_state_dict

from mmad.errors import InputError, summarize_error
from mmad.models import BaseDetector
from mmad.registry import MODELS
from mmad.utils import load_checkpoint
from mmad.utils.config_file import is_module_name, read_config
from mmad.utils.weights import remove_weights

from .model_size_limit import limit_model_size
from .stored_config import read_stored_config


def init_model(
    checkpoint: str | Path,
    config: str | Path | Config | None = None,
    device: str | torch.device | None = None,
    modules: str | Sequence[str] = ()
) -> BaseDetector:
    """Build a detector from a checkpoint, ready to predict.

    The call does not change MMEngine in this process: its default scope, its
    checkpoint loader and its file back ends stay as they are.

    Args:
        checkpoint (str | Path): Checkpoint written by ``tools/train.py``. It
            contains all weights, so nothing is downloaded.
        config (str | Path | Config, optional): Config, or path of a config
            file. A config file is Python code, so it must be trusted.
            Defaults to None: the config in the checkpoint, which is read as
            data and may only name classes of mmad.
        device (str | torch.device, optional): Device of the model. Defaults
            to None: CUDA if it is available.
        modules (str | Sequence[str]): Names of modules to import. The config
            in the checkpoint may also name the classes that they register.
            Defaults to none.

    Returns:
        BaseDetector: The detector, in evaluation mode. Its attribute ``cfg``
        has the config; of the config in the checkpoint, only the model and
        the test pipeline.

    Raises:
        InputError: If the checkpoint is missing, broken, unsafe or of another
            model, or another argument cannot be used.
    """
    device = _find_device(device)
    modules = _import(modules)
    state = load_checkpoint(str(checkpoint), map_location='cpu')
    with DefaultScope.overwrite_default_scope('mmad'):
        if config is None:
            model, config = _build_from_stored_config(state, str(checkpoint),
                                                      modules)
        else:
            model, config = _build_from_given_config(config, str(checkpoint))
    _load(model, state.get('state_dict'), str(checkpoint))
    model.cfg = config
    return model.to(device).eval()


def _build_from_stored_config(
        state: dict, checkpoint: str,
        modules: Sequence[str]) -> tuple[BaseDetector, Config]:
    meta = state.get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    if text is None:
        raise InputError(f'checkpoint "{checkpoint}" stores no config; give '
                         'one with `config=`.')
    config = read_stored_config(text, checkpoint, modules)
    try:
        remove_weights(config.model)
        with limit_model_size():
            return MODELS.build(config.model), config
    except InputError as error:
        raise InputError(f'the config stored in checkpoint "{checkpoint}" is '
                         f'refused: {error}') from error
    # The values come from an untrusted file, so any error is an error of the
    # input and not of the code.
    except Exception as error:
        raise InputError(
            f'the model of the config stored in checkpoint "{checkpoint}" '
            f'cannot be built ({summarize_error(error)}); give the config '
            'file with `config=`.') from error


def _build_from_given_config(config: str | Path | Config,
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
    remove_weights(config.model)
    try:
        model = MODELS.build(config.model)
    except KeyError as error:
        if 'registry' not in str(error):
            raise
        raise InputError(
            f'{name} names a class that is not registered '
            f'({summarize_error(error)}); check the spelling, or name the '
            'module that defines it with `modules=`.') from error
    if not isinstance(model, BaseDetector):
        raise InputError(
            f'checkpoint "{checkpoint}" is of a {type(model).__name__}, which '
            'is no detector and cannot predict; give the checkpoint of a '
            'detector.')
    return model, config


def _load(model: BaseDetector, state: object, checkpoint: str) -> None:
    if not isinstance(state, Mapping) or not state:
        raise InputError(
            f'checkpoint "{checkpoint}" contains no fitted state; give one '
            'that tools/train.py wrote.')
    try:
        load_state_dict(model, state, strict=True)
    except InputError as error:
        raise InputError(f'checkpoint "{checkpoint}": {error}') from error
    # PyTorch and the loading methods of models raise many kinds of errors for
    # the state of another model, including a lack of memory.
    except Exception as error:
        raise InputError(
            f'the state of checkpoint "{checkpoint}" does not fit its '
            f'{type(model).__name__} ({summarize_error(error)}); it is '
            'damaged or of another model: fit again, or give the config that '
            'it was fitted with.') from error


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
    # PyTorch raises any of these for a device that is unknown or missing.
    except (AssertionError, ImportError, NotImplementedError, RuntimeError,
            TypeError) as error:
        raise InputError(f'the device "{device}" cannot be used here '
                         f'({summarize_error(error)}); use "cpu", or leave it '
                         'out.') from error
    return found
