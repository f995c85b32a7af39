import subprocess
import sys
from pathlib import Path

import pytest

from mmad import __version__
from mmad.cli import main
from mmad.shipped_files import shipped_tools

ROOT = Path(__file__).resolve().parents[1]


def run(*args, cwd, **kwargs):
    code = ('import sys; from mmad.cli import main; main(sys.argv[1:]); '
            'assert "torch" not in sys.modules')
    return subprocess.run([sys.executable, '-c', code, *args],
                          cwd=cwd,
                          env={'PYTHONPATH': str(ROOT)},
                          capture_output=True,
                          text=True,
                          check=False)


@pytest.mark.parametrize('args', [[], ['--help'], ['-h']])
def test_lists_all_tools(args, tmp_path):
    result = run(*args, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name, path in shipped_tools().items():
        line, = (
            line for line in result.stdout.splitlines()
            if line.startswith(f'  {name} '))
        assert path.read_text().startswith(
            f'"""{line[2:].split("  ")[-1].strip()}')
    assert '  patchcore_resnet18_10pct_folder' in result.stdout


def test_version(capsys):
    main(['--version'])
    assert capsys.readouterr().out == f'mmad {__version__}\n'


def test_misspelled_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['trian'])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: there is no command 'trian'; did you mean train?\n")


@pytest.fixture
def own_tool(tmp_path, monkeypatch):
    """A tool that shows how it was started, in place of the real ones."""
    path = tmp_path / 'show_it.py'
    (tmp_path / 'beside.py').write_text('word = "found"\n')
    path.write_text('import argparse, sys\n'
                    'import beside\n'
                    'from mmad.terminal import tool_command\n'
                    "if __name__ == '__main__':\n"
                    '    parser = argparse.ArgumentParser()\n'
                    '    print(parser.prog, sys.argv[1:], beside.word,\n'
                    '          tool_command("browse_dataset"), __file__)\n')
    monkeypatch.setattr('mmad.cli.shipped_tools', lambda: {'show-it': path})
    # What a script changes in this process.
    monkeypatch.setattr(sys, 'argv', list(sys.argv))
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    yield path
    sys.modules.pop('beside', None)


@pytest.mark.parametrize('name', ['show-it', 'show_it'])
def test_starts_a_tool_like_python(name, own_tool, capsys):
    main([name, '--some', 'words'])
    assert capsys.readouterr().out == (
        f"mmad show-it ['--some', 'words'] found "
        f"['mmad', 'browse-dataset'] {own_tool}\n")


def test_as_a_module(tmp_path):
    result = subprocess.run([sys.executable, '-m', 'mmad', '--version'],
                            cwd=tmp_path,
                            env={'PYTHONPATH': str(ROOT)},
                            capture_output=True,
                            text=True,
                            check=True)
    assert result.stdout == f'mmad {__version__}\n'
