"""Format a config as text in which repeated entries are written once."""
from pprint import pformat
from typing import Any

from mmengine.config import Config


def config_text(cfg: Config) -> str:
    """Format a config as a Python file that loads as the same config.

    An entry that equals an earlier one refers to it, as in
    ``val_dataloader = test_dataloader``, and so does a pipeline, as in
    ``pipeline=test_dataloader['dataset']['pipeline']``. No helper variables
    are added.

    Args:
        cfg (Config): Config of a run.

    Returns:
        str: Text of a Python config.
    """
    seen: dict[str, str] = {}
    names: dict[str, str] = {}
    # An entry can only refer to those that are written before it.
    entries = {
        key: _refer(value, str(key), True, seen, names)
        for key, value in sorted(cfg.to_dict().items())
    }
    text = Config(
        entries, format_python_code=cfg._format_python_code).pretty_text
    for mark, name in names.items():
        text = text.replace(repr(mark), name)
    return text


def _refer(value: Any, name: str, may_refer: bool, seen: dict[str, str],
           names: dict[str, str]) -> Any:
    """Replace repeated values by marks, at any depth."""
    if not isinstance(value, dict | list) or not value:
        return value
    if may_refer:
        key = pformat(value, sort_dicts=True)
        if key in seen:
            mark = f'<the same as {len(names)}>'
            names[mark] = seen[key]
            return mark
        seen[key] = name
    if isinstance(value, list):
        return [
            _refer(part, f'{name}[{index}]', False, seen, names)
            for index, part in enumerate(value)
        ]
    return {
        key: _refer(part, f'{name}[{key!r}]', key == 'pipeline', seen, names)
        for key, part in sorted(value.items(), key=lambda item: str(item[0]))
    }
