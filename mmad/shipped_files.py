"""Find the configs and the tools that come with mmad.

This module imports nothing that takes long, so that ``mmad --help`` is quick.
"""
import ast
import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    'find_config', 'published_results', 'shipped_configs', 'shipped_data_sets',
    'shipped_tools', 'suggest'
]

# They work on a checkout, which an installed package does not have.
_OF_THE_CHECKOUT = ('install', 'make_demo_backbone')


def shipped_configs() -> dict[str, Path]:
    """Return the paths of the configs by name, without those in ``_base_``."""
    files = sorted(_folder('configs').glob('*/*.py'))
    return {
        path.stem: path
        for path in files if not path.parent.name.startswith('_')
    }


def find_config(config: str | Path) -> Path:
    """Return the path of a config that is given by its path or its name.

    Args:
        config (str | Path): Path of a file; or the name of a config of mmad,
            with or without ``.py``, if there is no such file.

    Returns:
        Path: Path of the config of that name, else ``config`` itself.
    """
    path = Path(config).expanduser()
    if path.exists() or len(path.parts) != 1:
        return path
    return shipped_configs().get(path.name.removesuffix('.py'), path)


def shipped_data_sets() -> dict[str, Path]:
    """Return the paths of the files about data in ``_base_`` by name."""
    files = sorted(_folder('configs').glob('_base_/datasets/*.py'))
    return {path.stem: path for path in files}


def published_results() -> Path:
    """Return the path of the file with published results."""
    return _folder('configs') / 'published_results.yml'


def shipped_tools() -> dict[str, Path]:
    """Return the paths of the scripts by command, such as ``make-demo``."""
    tools = _folder('tools')
    files = [*tools.glob('*.py'), *tools.glob('dataset_converters/*.py')]
    return {
        path.stem.replace('_', '-'): path
        for path in sorted(files, key=lambda path: path.stem)
        if path.stem not in _OF_THE_CHECKOUT and _is_script(path)
    }


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``'; did you mean ...?'`` for a misspelled name, or ``''``."""
    close = difflib.get_close_matches(name, sorted(known), 3)
    return f'; did you mean {" or ".join(close)}?' if close else ''


def _folder(name: str) -> Path:
    package = Path(__file__).parent
    # A checkout has the folder beside the package, a wheel in it.
    beside = package.parent / name
    is_checkout = (package.parent / 'pyproject.toml').is_file()
    return beside if is_checkout else package / '.mim' / name


def _is_script(path: Path) -> bool:
    """Return whether a file is to be run, and not to be imported."""
    body = ast.parse(path.read_text(encoding='utf-8')).body
    return isinstance(body[-1], ast.If) and "'__main__'" in ast.unparse(
        body[-1].test)
