"""Find configs by their names, and build their models."""
import difflib
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from mmengine.registry import DefaultScope

from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.registry import MODELS
from mmad.utils.config_file import read_config
from mmad.utils.weights import remove_weights


def list_models(pattern: str | None = None) -> list[str]:
    """List the names of the configs that mmad comes with.

    Args:
        pattern (str, optional): Pattern with wildcards, such as
            ``'padim*mvtec'``. Defaults to None: all names.

    Returns:
        list[str]: The names, sorted.

    Raises:
        InputError: If the folder of configs is missing.

    Examples:
        >>> list_models('spade*')
        ['spade_resnet18_mvtec', 'spade_wrn50_mvtec']
    """
    return sorted(name for name in _configs()
                  if pattern is None or fnmatchcase(name, pattern))


def get_model(name: str, pretrained: bool = True) -> BaseDetector:
    """Build the model of a config, not fitted.

    Args:
        name (str): Name of a config, from :func:`list_models`.
        pretrained (bool): Load the weights of the backbone that the config
            names, which may download them. Defaults to True.

    Returns:
        BaseDetector: The model. Its attribute ``cfg`` has the config. Use
        :func:`~mmad.apis.init_model` for one that was fitted.

    Raises:
        InputError: If there is no config of this name, or the weights cannot
            be loaded.
    """
    configs = _configs()
    if name not in configs:
        close = difflib.get_close_matches(str(name), sorted(configs), 3)
        hint = (f'; did you mean {" or ".join(close)}?'
                if close else '; `list_models()` returns all names.')
        raise InputError(f'there is no config "{name}"{hint}')
    config = read_config(configs[name])
    if not pretrained:
        remove_weights(config.model)
    with DefaultScope.overwrite_default_scope('mmad'):
        model = MODELS.build(config.model)
    model.cfg = config
    return model


def _configs() -> dict[str, Path]:
    """Map the name of each config in the metafiles to its path."""
    package = Path(__file__).parents[1]
    # A checkout has the folder beside the package, a wheel in it.
    for home in (package.parent, package / '.mim'):
        metafiles = sorted(home.glob('configs/*/metafile.yml'))
        if metafiles:
            break
    else:
        raise InputError(f'the configs of mmad are missing in "{package}"; '
                         'install the package again.')
    return {
        model['Name']: home / model['Config']
        for path in metafiles
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']
    }
