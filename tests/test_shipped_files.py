from pathlib import Path

import pytest

from mmad import shipped_files
from mmad.shipped_files import (
    find_config,
    published_results,
    shipped_configs,
    shipped_tools,
    suggest,
)

ROOT = Path(__file__).resolve().parents[1]


def test_configs_are_all_but_the_bases():
    named = shipped_configs()
    files = [
        path for path in ROOT.glob('configs/**/*.py')
        if '_base_' not in path.parts
    ]
    assert {path.resolve() for path in named.values()} == set(files)
    assert all(name == path.stem for name, path in named.items())


def test_tools_are_what_can_be_run(tmp_path):
    tools = shipped_tools()
    assert {'train', 'test', 'sweep', 'browse-dataset',
            'make-demo'} <= set(tools)
    # A module, and what only works on a checkout.
    assert not {'sweep-table', 'install', 'make-demo-backbone'} & set(tools)
    for path in tools.values():
        assert "__name__ == '__main__'" in path.read_text()


@pytest.mark.parametrize('suffix', ['', '.py'])
def test_config_by_name(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_config(f'padim_demo{suffix}')
    assert found.resolve() == ROOT / 'configs/padim/padim_demo.py'


def test_a_file_is_taken_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'padim_demo.py').write_text('')
    assert find_config('padim_demo.py') == Path('padim_demo.py')


@pytest.mark.parametrize('path', ['no/padim_demo.py', 'own.py', '/x/y.py'])
def test_other_paths_stay(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(path) == Path(path)


def test_installed_package(tmp_path, monkeypatch):
    # As in a wheel, there is nothing beside the package.
    package = tmp_path / 'site-packages' / 'mmad'
    (package / '.mim' / 'configs' / 'padim').mkdir(parents=True)
    (package / '.mim' / 'tools').mkdir()
    config = package / '.mim' / 'configs' / 'padim' / 'padim_x.py'
    tool = package / '.mim' / 'tools' / 'some_tool.py'
    config.write_text('')
    tool.write_text("if __name__ == '__main__':\n    pass\n")
    monkeypatch.setattr(shipped_files, '__file__',
                        str(package / 'shipped_files.py'))
    assert shipped_configs() == {'padim_x': config}
    assert published_results().parent == config.parents[1]
    assert shipped_tools() == {'some-tool': tool}


def test_suggestions():
    assert suggest('trian', ['train', 'test']) == '; did you mean train?'
    assert suggest('xyz', ['train', 'test']) == ''
