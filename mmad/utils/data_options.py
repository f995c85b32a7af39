"""Put what the command line says about the data into a config."""
import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmad.errors import InputError
from mmad.shipped_files import shipped_data_sets, suggest

from .config_file import read_config
from .config_names import SUFFIXES, read_names
from .config_parts import type_name
from .inner_datasets import inner_dataset_configs

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_EVALUATORS = ('val_evaluator', 'test_evaluator')
_MISSING = object()


def find_data_set(data: str) -> Path:
    """Return the path of a data set file that is given by name or by path.

    Args:
        data (str): Name of a file in ``configs/_base_/datasets`` of mmad, or
            path of a file.

    Raises:
        InputError: If there is no such file.
    """
    path, shipped = Path(data).expanduser(), shipped_data_sets()
    if len(path.parts) == 1 and not path.is_file():
        path = shipped.get(path.name.removesuffix('.py'), path)
    if path.is_dir():
        raise InputError(
            f'--data "{data}" is a folder, but must name a data set; give '
            'the folder of the images with --data-root.')
    if path.is_file():
        return path
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        raise InputError(f'--data "{data}" does not exist; check the path.')
    known = [name for name in shipped if _is_data_set(_entries(shipped[name]))]
    hint = suggest(data, known) or f'; it has {", ".join(known)}'
    raise InputError(f'--data {data!a}: mmad has no data set of that name'
                     f'{hint.removesuffix("?")}; or give the path of a file '
                     'of your own.')


def use_data_set(cfg: Config, data: str) -> None:
    """Put another data set into a config, as if it had been written for it.

    What the config has from its own data set file becomes that of the other
    file. What it sets itself (sizes of batches, samplers, preparing steps of
    pipelines, further metrics) stays. Then the name of the config is
    ``CONFIG_on_DATA``, which is used for the work directory.

    Args:
        cfg (Config): Config that :func:`~mmad.utils.config_file.read_config`
            has read. It is changed.
        data (str): Name of a data set of mmad, or path of a data set file: a
            config with data loaders and evaluators only.

    Raises:
        InputError: If there is no such file, it is no data set file, or the
            config does not inherit from one.
    """
    path = find_data_set(data)
    new = _read_data_set(path, data)
    old = _inherited_data_set(cfg)
    before = {
        key: copy.deepcopy(cfg.get(key))
        for key in (*_LOADERS, *_EVALUATORS)
    }
    for key in _LOADERS:
        if cfg.get(key) is not None:
            cfg[key] = _merge_loader(cfg[key], old[key], new[key])
    for key in _EVALUATORS:
        if cfg.get(key) is not None:
            cfg[key] = _merge_metrics(cfg[key], old[key], new[key])
    if 'custom_imports' in new:
        cfg.custom_imports = _merge_imports(
            cfg.get('custom_imports') or {}, new.custom_imports)
    if any(cfg.get(key) != value for key, value in before.items()):
        file = Path(cfg.filename)
        # MMEngine offers no other way to rename a config.
        object.__setattr__(cfg, '_filename',
                           str(file.with_stem(f'{file.stem}_on_{path.stem}')))


def set_in_data_set(dataset: dict, key: str, value: str) -> None:
    """Set a key of a data set, or of all those that a wrapper contains.

    Args:
        dataset (dict): Config of a data set, or of a wrapper such as
            ``ConcatDataset``.
        key (str): Name of the key, that of an option with ``_`` for ``-``.
        value (str): Value of the option.

    Raises:
        InputError: If no data set has the key, or several have different
            values.
    """
    option = f'--{key.replace("_", "-")}'
    kind = type_name(dataset.get('type'))
    parts = [part for part in inner_dataset_configs(dataset) if key in part]
    if not parts:
        raise InputError(f'{option} does not apply: the {kind} of this config '
                         f'has no `{key}`; leave it out.')
    found = list(dict.fromkeys(str(part[key]) for part in parts))
    if len(found) > 1:
        raise InputError(
            f'{option} does not apply: the data sets in the {kind} of this '
            f'config differ in their `{key}` ({", ".join(found)}); set each '
            'in the config.')
    for part in parts:
        part[key] = value


def _read_data_set(path: Path, data: str) -> Config:
    new = read_config(path)
    extra = sorted(set(new) - {*_LOADERS, *_EVALUATORS, 'custom_imports'})
    if extra:
        raise InputError(
            f'--data "{data}" sets `{extra[0]}`, but a data set file sets '
            'only data loaders, evaluators and `custom_imports`; remove it, '
            'or use the file as the config.')
    if not _is_data_set(new):
        raise InputError(
            f'--data "{data}" is no data set to fit a detector to and test '
            f'it: it must set {", ".join((*_LOADERS, *_EVALUATORS))}, and '
            'the `dataset.type` of each loader.')
    return new


def _is_data_set(entries: dict) -> bool:
    return all(
        (entries.get(key) or {}).get('dataset', {}).get('type')
        for key in _LOADERS) and all(entries.get(key) for key in _EVALUATORS)


def _entries(path: Path) -> Config:
    """Read a file of a config, which may only make sense with its heirs."""
    return Config.fromfile(str(path), import_custom_modules=False)


def _inherited_data_set(cfg: Config) -> Config:
    """Read the data set file that a config inherits from.

    Of several, one inherits from the other to suit a method, as
    ``mvtec_ad_128.py`` does; it is the innermost that describes the data.
    """
    for path in reversed(read_names(cfg.filename).all_paths()):
        entries = _entries(path)
        if 'model' not in entries and _is_data_set(entries):
            return entries
    raise InputError(
        f'--data needs to know which part of config "{cfg.filename}" is about '
        'the data, but it inherits from no file with a data set for a '
        'detector, such as "_base_/datasets/mvtec_ad.py"; leave --data out.')


def _merge(mine: Any, old: Any, new: Any) -> Any:
    """Replace by the new what is as in the old, at any depth of dicts."""
    if mine == old:
        return copy.deepcopy(new)
    if not all(isinstance(part, dict) for part in (mine, old, new)):
        return mine
    merged = {
        key: _merge(*(part.get(key, _MISSING) for part in (mine, old, new)))
        for key in dict.fromkeys((*mine, *new))
    }
    return {key: part for key, part in merged.items() if part is not _MISSING}


def _merge_loader(mine: dict, old: dict, new: dict) -> dict:
    merged = _merge(mine, dict(old, dataset=None), dict(new, dataset=None))
    merged['dataset'] = _merge_dataset(mine['dataset'], old['dataset'],
                                       new['dataset'])
    return merged


def _merge_dataset(mine: dict, old: dict, new: dict) -> dict:
    """Merge two data sets; the new one decides which images are read.

    If it reads those of the old one in another way, the folder or category
    that the config sets is meant for both.
    """
    types = [type_name(part.get('type')) for part in (mine, old, new)]
    if len(set(types)) == 1 and old.get('data_root',
                                        0) == new.get('data_root'):
        merged = _merge(mine, old, new)
    else:
        kept = set(mine) - set(old) if types[0] == types[1] else ()
        merged = {key: mine[key] for key in kept} | copy.deepcopy(dict(new))
    own, inherited = (
        inner_dataset_configs(part)[0].get('pipeline') for part in (mine, old))
    for dataset, source in zip(
            inner_dataset_configs(merged), inner_dataset_configs(new)):
        if own and inherited and source.get('pipeline'):
            dataset['pipeline'] = _merge_pipelines(own, inherited,
                                                   source['pipeline'])
    return merged


def _merge_pipelines(mine: list, old: list, new: list) -> list:
    """Merge the steps that make the images apart from those that follow."""
    return [
        step for part in zip(*map(_split_pipeline, (mine, old, new)))
        for step in _merge(*part)
    ]


def _split_pipeline(steps: list) -> tuple[list, list]:
    """Split a pipeline after the last step that is a part of the data.

    Images of Rd-MVTec are made by a random pose of the images that are read.
    """
    names = [type_name(step.get('type')).split('.')[-1] for step in steps]
    count = max((index for index, name in enumerate(names, 1)
                 if name.startswith('Load') or name == 'RandomPose'),
                default=0)
    return list(steps[:count]), list(steps[count:])


def _merge_metrics(mine: Any, old: Any, new: Any) -> list:
    """Merge lists of metrics, which are told apart by type and prefix."""
    mine, old, new = map(_by_name, (mine, old, new))
    merged = [
        _merge(mine.get(name, _MISSING), old.get(name, _MISSING), metric)
        for name, metric in new.items() if name in mine or name not in old
    ]
    # The data may lack what a type needs, such as masks.
    left_out = {kind for kind, _ in old} - {kind for kind, _ in new}
    merged += [
        metric for name, metric in mine.items()
        if name not in new and name not in old and name[0] not in left_out
    ]
    return merged or copy.deepcopy(list(new.values()))


def _by_name(metrics: Any) -> dict[tuple[str, Any], dict]:
    metrics = [metrics] if isinstance(metrics, dict) else metrics
    return {
        (type_name(metric.get('type')), metric.get('prefix')): metric
        for metric in metrics
    }


def _merge_imports(mine: dict, new: dict) -> dict:
    lists = [[part] if isinstance(part, str) else list(part)
             for part in (mine.get('imports') or (), new.get('imports') or ())]
    return dict(
        imports=list(dict.fromkeys(lists[0] + lists[1])),
        allow_failed_imports=any(
            part.get('allow_failed_imports') for part in (mine, new)))
