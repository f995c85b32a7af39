"""Imports run one way: from tools and apis down to utils."""
import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'mmad'
UPPER = {'apis', 'engine'}
FORBIDDEN = dict(
    utils=UPPER | {'datasets', 'evaluation', 'models', 'structures',
                   'visualization'},
    structures=UPPER | {'datasets', 'evaluation', 'models', 'visualization'},
    evaluation=UPPER | {'models', 'visualization'},
    visualization=UPPER | {'datasets', 'evaluation', 'models'},
    datasets=UPPER | {'evaluation', 'models', 'visualization'},
    models=UPPER | {'evaluation', 'visualization'},
    engine={'apis'})


def imported(path):
    """Modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ''
            if node.level:
                parents = path.relative_to(PACKAGE.parent).parts[:-node.level]
                module = '.'.join([*parents, module]).rstrip('.')
            yield module
            yield from (f'{module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('package', FORBIDDEN)
def test_no_import_runs_back_up(package):
    for path in sorted((PACKAGE / package).rglob('*.py')):
        for module in imported(path):
            root, _, rest = module.partition('.')
            assert root != 'mmad' or rest.split('.')[0] not in FORBIDDEN[
                package], f'{path.relative_to(PACKAGE)} imports {module}'


def test_imports_are_found():
    found = set(imported(PACKAGE / 'apis/model.py'))
    assert {'mmad.errors', 'mmad.models', 'mmad.apis.building'} <= found
