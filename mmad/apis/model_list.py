"""Find configs by their names, and build their models."""
from fnmatch import fnmatchcase

from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from mmad.errors import InputError
from mmad.registry import MODELS
from mmad.shipped_files import shipped_configs, suggest
from mmad.utils.config_file import read_config
from mmad.utils.weights import remove_weights


def list_models(pattern: str | None = None) -> list[str]:
    """List the names of the configs that mmad comes with.

    Args:
        pattern (str, optional): Pattern with wildcards, such as
            ``'padim*mvtec'``. Defaults to None: all names.

    Returns:
        list[str]: The names, sorted.

    Examples:
        >>> list_models('mkd_*mvtec')
        ['mkd_resnet18_mvtec', 'mkd_vgg16_mvtec']
    """
    return sorted(name for name in shipped_configs()
                  if pattern is None or fnmatchcase(name, pattern))


def get_model(name: str, pretrained: bool = True) -> BaseModel:
    """Build the model of a config, not fitted.

    Args:
        name (str): Name of a config, from :func:`list_models`.
        pretrained (bool): Load the weights of the backbone that the config
            names, which may download them. Defaults to True.

    Returns:
        BaseModel: The model. Its attribute ``cfg`` has the config. Use
        :func:`~mmad.apis.init_model` for one that was fitted.

    Raises:
        InputError: If there is no config of this name, or the weights cannot
            be loaded.
    """
    configs = shipped_configs()
    if name not in configs:
        hint = suggest(str(name),
                       configs) or ('; `list_models()` returns all names.')
        raise InputError(f'there is no config "{name}"{hint}')
    config = read_config(configs[name])
    if not pretrained:
        remove_weights(config.model)
    with DefaultScope.overwrite_default_scope('mmad'):
        model = MODELS.build(config.model)
    model.cfg = config
    return model
