"""Which top-level names config files assign, and which of them are read."""
import ast
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmad.errors import InputError

SUFFIXES = ('.py', '.yml', '.yaml', '.json')
# As in MMEngine, which replaces text before it reads the file.
_VARIABLE = re.compile(r'\{\{[\'"]?\s*\$(\w+)\s*\:\s*(\S*?)\s*[\'"]?\}\}')
_BASE_NAME = re.compile(r'\{\{\s*_base_\.(\w+)')


@dataclass
class ConfigFile:
    """The names that one file of a chain of configs assigns and reads.

    Args:
        path (Path): Of the file.
        unread (set[str]): Names that it gives a value, at top level, and does
            not read further down.
        outside (set[str]): Names that it reads from its bases.
        bases (list[ConfigFile]): The files that it inherits from, as far as
            they are named by a path.
    """

    path: Path
    unread: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    bases: list['ConfigFile'] = field(default_factory=list)

    def dead_names(
        self, read: frozenset[str] = frozenset()) -> dict[str, Path]:
        """Find the names that are assigned in this chain and never read.

        Args:
            read (frozenset[str]): Names that an heir of this file reads.

        Returns:
            dict[str, Path]: Each name with the file that assigns it.
        """
        read = read | self.outside
        dead = {}
        for base in self.bases:
            dead.update(base.dead_names(read))
        dead.update((name, self.path) for name in self.unread - read)
        return dead

    def all_paths(self) -> list[Path]:
        """The paths of this file and of all its bases."""
        return [self.path
                ] + [path for base in self.bases for path in base.all_paths()]


def read_names(path: str | Path, heirs: tuple[Path, ...] = ()) -> ConfigFile:
    """Find the names in a config file and its bases without running them.

    Args:
        path (str | Path): Of the file.
        heirs (tuple[Path, ...]): The files that lead to this one.

    Raises:
        InputError: A file is missing, no config, no valid Python, or its own
            base; or an environment variable cannot stand in its text.
    """
    path = Path(path).expanduser()
    said = f' (a base of "{heirs[-1]}")' if heirs else ''
    if path.suffix not in SUFFIXES:
        raise InputError(f'"{path}"{said} is no config: the name must end in '
                         f'{", ".join(SUFFIXES)}.')
    if not path.is_file():
        raise InputError(
            f'config "{path}"{said} does not exist; `_base_` is relative to '
            'the file that it stands in.'
            if heirs else f'config "{path}" does not exist.')
    if any(path.samefile(heir) for heir in heirs):
        raise InputError(f'config "{path}" is a base of itself, by way of '
                         f'"{heirs[-1]}"; remove one of the two `_base_`.')
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f'config "{path}" cannot be read as text ({error}).') from error
    file = ConfigFile(path, outside=set(_BASE_NAME.findall(text)))
    text = fill_in_variables(text, path)
    if path.suffix == '.py':
        tree = parse_python(text, path)
        _collect(tree, file)
        bases = _bases(tree, path)
    else:
        content = _load(text, path)
        file.unread = set(content) - {'_base_'}
        if path.suffix != '.json':
            file.unread -= _referred(text)
        bases = content.get('_base_', ())
    bases = [bases] if isinstance(bases, str) else bases
    for base in bases:
        # `package::config` is of another package, with names of its own.
        if '::' not in base:
            file.bases.append(read_names(path.parent / base, (*heirs, path)))
    return file


def fill_in_variables(text: str, path: Path) -> str:
    """Replace ``{{$NAME:default}}`` by the values of environment variables.

    Args:
        text (str): Of a config or of a value in it.
        path (Path): Of the config, for the message.

    Raises:
        InputError: A value cannot stand in the text of a config.
    """
    return _VARIABLE.sub(lambda match: _value(match, path), text)


def parse_python(text: str, path: Path) -> ast.Module:
    """The syntax tree of a config.

    Raises:
        InputError: It is no valid Python.
    """
    try:
        # Placeholders of MMEngine outside strings are no Python.
        return ast.parse(re.sub(r'\{\{\s*\w+\s*\}\}', '0', text))
    # A null byte is a ValueError, nesting too deep a RecursionError or a
    # MemoryError of the parser.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, 'lineno', None)
        where = '' if line is None else f', line {line}'
        raise InputError(f'config "{path}"{where} is no valid Python: '
                         f'{getattr(error, "msg", error)}.') from error


def _load(text: str, path: Path) -> dict:
    try:
        content = (json.loads if path.suffix == '.json' else yaml.safe_load)(
            text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f'config "{path}" is no valid {path.suffix[1:]}: '
                         f'{" ".join(str(error).split())}.') from error
    if not isinstance(content, dict):
        raise InputError(f'config "{path}" holds no keys with values.')
    return content


def _referred(text: str) -> set[str]:
    """Top-level keys of YAML whose anchors other keys refer to."""
    owner: dict[int, str] = {}
    read = set()
    for key, value in yaml.compose(text, yaml.SafeLoader).value:
        seen, pending = set(), [value]
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            first = owner.setdefault(id(node), key.value)
            if first != key.value:
                read.add(first)
            if isinstance(node, yaml.SequenceNode):
                pending += node.value
            elif isinstance(node, yaml.MappingNode):
                pending += [part for pair in node.value for part in pair]
    return read


def _value(match: re.Match, path: Path) -> str:
    """The value of an environment variable, if it can stand in a text."""
    name, default = match.groups()
    if name not in os.environ:
        return default
    value = os.environ[name]
    wrong = sorted({
        sign
        for sign in value if sign in '\\\'"{}' or not sign.isprintable()
    })
    if value and not wrong:
        return value
    what = (f'holds {" ".join(map(ascii, wrong))}, which cannot stand there'
            if wrong else 'is empty')
    raise InputError(
        f'the environment variable {name}, which "{path}" puts into its '
        f'text, is {value!a}: it {what}; unset it and use --data-root, '
        'or give a path without such characters (on Windows with "/").')


def _bases(tree: ast.Module, path: Path) -> list[str]:
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == '_base_'
                for target in node.targets):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                # Computed; MMEngine will find out.
                continue
            value = [value] if isinstance(value, str) else value
            if not isinstance(value, list | tuple) or not all(
                    isinstance(base, str) for base in value):
                raise InputError(f'`_base_` of config "{path}" must be a path '
                                 'or a list of paths.')
            found.extend(value)
        elif isinstance(node, ast.With):
            found.extend('../' * (part.level - 1) +
                         part.module.replace('.', '/') + '.py'
                         for part in node.body
                         if isinstance(part, ast.ImportFrom) and part.level
                         and part.module)
    return found


def _collect(tree: ast.Module, file: ConfigFile) -> None:
    """Note what is assigned at top level and what is read where."""
    last_store: dict[str, int] = {}
    last_load: dict[str, float] = {}
    lazy = any(isinstance(node, ast.With) for node in tree.body)
    for place, statement in enumerate(tree.body):
        simple = isinstance(
            statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr)
        # A function reads when it is called, a block also what it has
        # assigned itself.
        seen = place - 1 if simple else float('inf')
        for name in _stored(statement):
            last_store[name] = place
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                last_load[node.id] = max(last_load.get(node.id, -1), seen)
            elif isinstance(node, ast.Attribute) and isinstance(
                    node.value, ast.Name) and node.value.id == '_base_':
                file.outside.add(node.attr)
    file.unread = {
        name
        for name, place in last_store.items()
        if last_load.get(name, -1) < place and name != '_base_'
    }
    if lazy:
        # Imported with *, so under their own names.
        file.outside |= set(last_load) - set(last_store)


def _stored(statement: ast.stmt | ast.ExceptHandler) -> list[str]:
    """Names that a statement assigns at top level, other than in passing."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return []
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign) else [statement.target])
        return [
            node.id for target in targets for node in ast.walk(target)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
    return [
        name for part in ast.iter_child_nodes(statement)
        if isinstance(part, ast.stmt | ast.ExceptHandler)
        for name in _stored(part)
    ]
