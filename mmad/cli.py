"""The command ``mmad``, which starts the tools of mmad from any folder."""
import ast
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from .shipped_files import shipped_configs, shipped_tools, suggest
from .version import __version__

# In the order in which they are used; others follow in that of the alphabet.
_FIRST = ('train', 'test', 'predict', 'report', 'export', 'update', 'sweep')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the tools, as ``python tools/NAME.py`` does in a checkout.

    Without arguments, or with ``--help``, it lists the tools.

    Args:
        arguments (Sequence[str], optional): Name of the tool and its
            arguments. Defaults to None: those of the command line.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ['-h']
    if name in ('-h', '--help', 'help'):
        print(_help(shipped_tools()))
        return
    if name in ('-V', '--version', 'version'):
        print(f'mmad {__version__}')
        return
    tools = shipped_tools()
    path = tools.get(name.replace('_', '-'))
    if path is None:
        hint = suggest(name, tools) or '; `mmad --help` lists them.'
        sys.stderr.write(f'error: there is no command {name!a}{hint}\n')
        sys.exit(2)
    sys.argv = [f'mmad {path.stem.replace("_", "-")}', *rest]
    # As Python runs a script. runpy would set the program's name back.
    sys.path.insert(0, str(path.parent))
    script = types.ModuleType('__main__')
    script.__file__ = str(path)
    sys.modules['__main__'] = script
    exec(compile(path.read_bytes(), str(path), 'exec'), vars(script))


def _help(tools: dict[str, Path]) -> str:
    names = sorted(
        tools,
        key=lambda name: (_FIRST.index(name)
                          if name in _FIRST else len(_FIRST), name))
    width = max(map(len, names))
    lines = [
        'usage: mmad COMMAND ...', '',
        'Image anomaly detection: fit, test and use a detector.', ''
    ]
    lines += [
        f'  {name:{width}}  {_first_line(tools[name])}' for name in names
    ]
    own = [name for name in shipped_configs() if name.endswith('_folder')]
    lines += [
        '', '`mmad COMMAND --help` has the options. A CONFIG is a file, or a '
        'name; those for', 'images of your own are', '',
        *(f'  {name}' for name in own), '', 'For example:', '',
        '  mmad train patchcore_resnet18_10pct_folder --normal-dir GOOD_IMAGES'
    ]
    return '\n'.join(lines)


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    return (text or '').split('\n')[0]
