"""Imports run one way: from the tools down to `utils`, never back up."""
import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'mmad'
UTILS = {
    'command_options', 'errors', 'interrupt', 'registry', 'shipped_files',
    'utils', 'version'
}
STRUCTURES = UTILS | {'structures'}
MODELS = STRUCTURES | {'models'}
# What each part of the package may import of it.
ALLOWED = {
    '__init__': {'version'},
    'version': set(),
    'errors': set(),
    'interrupt': {'errors'},
    'command_options': set(),
    'shipped_files': set(),
    'cli': {'shipped_files', 'version'},
    '__main__': {'cli'},
    'terminal': {'errors', 'shipped_files', 'utils'},
    'registry': {'errors'},
    'utils': UTILS,
    'structures': STRUCTURES,
    'datasets': STRUCTURES | {'datasets'},
    'evaluation': STRUCTURES | {'evaluation'},
    'visualization': STRUCTURES | {'evaluation', 'visualization'},
    'models': MODELS,
    'engine':
    MODELS | {'datasets', 'evaluation', 'visualization', 'engine', 'terminal'},
    'apis': MODELS | {'datasets', 'visualization', 'engine', 'apis'},
    'deploy': MODELS | {'datasets', 'apis', 'deploy'},
}
# Arrays and modules only, to be used and tested by themselves.
PLAIN = {
    'models/layers': ('errors', 'utils.arguments', 'models.layers'),
    'evaluation/functional': ('errors', 'evaluation.functional'),
}


def files_of(part):
    file = PACKAGE / f'{part}.py'
    files = [file] if file.exists() else sorted((PACKAGE / part).rglob('*.py'))
    assert files
    return files


def imports_of(path):
    """Dotted names of the modules that a file imports, anywhere in it."""
    package = ['mmad', *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the package itself, each further one that above.
            start = package[:len(package) + 1 - node.level] * bool(node.level)
            module = '.'.join([*start, *filter(None, [node.module])])
            # Of `from mmad import utils` the name is the module.
            yield from ([f'mmad.{name.name}' for name in node.names]
                        if module == 'mmad' else [module])


@pytest.mark.parametrize('part', ALLOWED)
def test_no_import_runs_back_up(part):
    wrong = [
        f'{path.relative_to(PACKAGE)} imports {name}'
        for path in files_of(part) for name in imports_of(path)
        if name.split('.')[0] == 'mmad'
        and name.split('.')[1] not in ALLOWED[part]
    ]
    assert not wrong


def test_every_part_has_its_place():
    found = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.suffix == '.py' or (path / '__init__.py').exists()
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize('part', PLAIN)
def test_plain_parts_stand_alone(part):
    wrong = [
        f'{path.relative_to(PACKAGE)} imports {name}'
        for path in files_of(part) for name in imports_of(path)
        if name.split('.')[0] in ('mmengine', 'mmcv', 'mmad') and not any(
            f'{name}.'.startswith(f'mmad.{one}.') for one in PLAIN[part])
    ]
    assert not wrong
