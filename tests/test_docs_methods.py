"""The pages of the methods: their results, and where their equations are."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
METHODS = sorted(path.parent.name for path in ROOT.glob('configs/*/README.md'))


@pytest.mark.parametrize('method', METHODS)
def test_method_page_says_where_each_equation_is(method):
    page = ROOT / 'docs' / f'{method}.md'
    section = page.read_text().split('\n## Equations in the code\n')[1]
    rows = re.findall(
        r'^\|.*\| \[[\w.]+\]\((.*?)\) \|(.*)\|$',
        section.split('\n## ')[0],
        re.MULTILINE,
    )
    assert rows
    for path, functions in rows:
        defined = _definitions(page.parent / path)
        named = re.findall(r'`([\w.]+)`', functions)
        assert named
        assert set(named) <= defined, path


@pytest.mark.parametrize('method', METHODS)
def test_results_are_in_the_configs_readme_only(method):
    assert _table_rows(ROOT / 'configs' / method / 'README.md')
    text = (ROOT / 'docs' / f'{method}.md').read_text()
    assert not re.search(r'\| (image AUROC|AUPRO) \|.*\n\|--', text)
    assert f'(../configs/{method}/README.md#results)' in text


@pytest.mark.parametrize('method', METHODS)
def test_metafile_has_the_results_of_the_configs_readme(method):
    folder = ROOT / 'configs' / method
    measured = _table_rows(folder / 'README.md')
    models = yaml.safe_load((folder / 'metafile.yml').read_text())['Models']
    for model in models:
        found = [[
            None if name not in result['Metrics'] else
            f'{result["Metrics"][name]:.3f}'
            for name in ('Image AUROC', 'Pixel AUROC', 'AUPRO')
        ] for result in model.get('Results', [])]
        assert found == [
            row for (config, _), row in measured.items()
            if config == Path(model['Config']) and any(row)
        ]


def test_readme_has_the_results_of_the_configs_readmes():
    measured = {}
    for method in METHODS:
        measured.update(_table_rows(ROOT / 'configs' / method / 'README.md'))
    shown = _table_rows(ROOT / 'README.md')
    assert {path.parent.name for path, _ in shown} == set(METHODS)
    assert shown == {config: measured[config] for config in shown}


def _table_rows(page):
    """Metrics of the configs that the results table of a page links.

    The keys are the path of a config and the data set of its option --data.
    """
    rows, columns = {}, None
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('| ').split('|')]
        if 'config' in cells:
            columns = [
                cells.index('config'),
                *map(cells.index, ('image AUROC', 'pixel AUROC', 'AUPRO')),
            ]
        elif not line.startswith('|'):
            columns = None
        elif columns:
            # In a row of another method's config the link leaves the folder.
            link = re.search(r'\(((?:\./|configs/).*\.py)\)',
                             cells[columns[0]])
            if link:
                path = (page.parent / link[1]).resolve().relative_to(ROOT)
                data = re.search(r'`--data (\w+)`', cells[columns[0]])
                rows[path, data and data[1]] = [
                    cells[i] if i < len(cells)
                    and re.fullmatch(r'[01]\.\d{3}', cells[i]) else None
                    for i in columns[1:]
                ]
    return rows


def _definitions(path):
    """Names of the functions and classes of a file, and of their methods."""
    names = set()
    for part in ast.parse(path.read_text()).body:
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.add(part.name)
        if isinstance(part, ast.ClassDef):
            names.update(f'{part.name}.{function.name}'
                         for function in part.body
                         if isinstance(function, ast.FunctionDef))
    return names
