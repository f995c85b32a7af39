"""Find the top-level names that config files assign but never read."""
import ast
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmad.errors import InputError
from mmad.shipped_files import find_config, shipped_configs, suggest

SUFFIXES = ('.py', '.yml', '.yaml', '.json')
# The same patterns as in MMEngine, which substitutes them in the text.
_VARIABLE = re.compile(r'\{\{[\'"]?\s*\$(\w+)\s*\:\s*(\S*?)\s*[\'"]?\}\}')
_BASE_NAME = re.compile(r'\{\{\s*_base_\.(\w+)')


@dataclass
class ConfigFile:
    """The names that a config file and its bases assign and read.

    Args:
        path (Path): Path of the file.
        unread (set[str]): Names that the file assigns at top level and does
            not read afterwards.
        read_from_bases (set[str]): Names that the file reads from its bases.
        bases (list[ConfigFile]): The files that it inherits from, except for
            those of other packages.
    """

    path: Path
    unread: set[str] = field(default_factory=set)
    read_from_bases: set[str] = field(default_factory=set)
    bases: list['ConfigFile'] = field(default_factory=list)

    def unread_names(
        self, read: frozenset[str] = frozenset()) -> dict[str, Path]:
        """Find the names that are assigned in these files and never read.

        Args:
            read (frozenset[str]): Names that are read by the files that
                inherit from this one.

        Returns:
            dict[str, Path]: Each name with the file that assigns it.
        """
        read = read | self.read_from_bases
        unread = {}
        for base in self.bases:
            unread.update(base.unread_names(read))
        unread.update((name, self.path) for name in self.unread - read)
        return unread

    def all_paths(self) -> list[Path]:
        """Return the paths of this file and of all its bases."""
        return [self.path
                ] + [path for base in self.bases for path in base.all_paths()]


def read_names(path: str | Path, heirs: tuple[Path, ...] = ()) -> ConfigFile:
    """Find the names in a config file and its bases without running them.

    Args:
        path (str | Path): Path of the file, or the name of a config of mmad.
        heirs (tuple[Path, ...]): Files that inherit from this one.

    Raises:
        InputError: If a file is missing, not a config, not valid Python or
            its own base, or the value of an environment variable cannot be
            used in a config.
    """
    path = Path(path).expanduser() if heirs else find_config(path)
    note = f' (a base of "{heirs[-1]}")' if heirs else ''
    if not heirs and not path.exists():
        names = shipped_configs()
        raise InputError(f'config "{path}" does not exist' + (
            f'; mmad comes with one named `{path.stem}`, give this name.'
            if path.stem in names else suggest(
                path.name.removesuffix('.py'), names) or '; check the path.'))
    if path.suffix not in SUFFIXES:
        raise InputError(f'"{path}"{note} is no config: the name must end in '
                         f'{", ".join(SUFFIXES)}.')
    if not path.is_file():
        raise InputError(
            f'config "{path}"{note} does not exist; `_base_` is relative to '
            'the file that contains it.'
            if heirs else f'config "{path}" is a folder; name a file in it.')
    if any(path.samefile(heir) for heir in heirs):
        raise InputError(f'config "{path}" is a base of itself, through '
                         f'"{heirs[-1]}"; remove one of the two `_base_`.')
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f'config "{path}" cannot be read as text ({error}).') from error
    file = ConfigFile(path, read_from_bases=set(_BASE_NAME.findall(text)))
    text = fill_in_variables(text, path)
    if path.suffix == '.py':
        tree = parse_python(text, path)
        _collect(tree, file)
        bases = _bases(tree, path)
    else:
        content = _load(text, path)
        file.unread = set(content) - {'_base_'}
        if path.suffix != '.json':
            file.unread -= _anchored_keys(text)
        bases = content.get('_base_', ())
    bases = [bases] if isinstance(bases, str) else bases
    for base in bases:
        # `package::config` is in another package, which may use other names.
        if '::' not in base:
            file.bases.append(read_names(path.parent / base, (*heirs, path)))
    return file


def fill_in_variables(text: str, path: Path) -> str:
    """Replace ``{{$NAME:default}}`` by the values of environment variables.

    Args:
        text (str): Text of a config, or of a value in it.
        path (Path): Path of the config, for the message.

    Raises:
        InputError: If a value cannot be used in the text of a config.
    """
    return _VARIABLE.sub(lambda match: _value(match, path), text)


def parse_python(text: str, path: Path) -> ast.Module:
    """Parse a config into its syntax tree.

    Raises:
        InputError: If it is not valid Python.
    """
    try:
        # Placeholders of MMEngine outside strings are not valid Python.
        return ast.parse(re.sub(r'\{\{\s*\w+\s*\}\}', '0', text))
    # A null byte causes a ValueError, and too deep nesting a RecursionError
    # or a MemoryError.
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
        raise InputError(f'config "{path}" holds no keys with values; add '
                         'some, or name another file.')
    return content


def _anchored_keys(text: str) -> set[str]:
    """Return the top-level keys of YAML whose anchors other keys use."""
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
    """Return the value of an environment variable, if it is allowed."""
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
    what = (f'has {" ".join(map(ascii, wrong))}, which is not allowed there'
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
                # The value is computed, so only MMEngine can read it.
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
    """Record which names are assigned at top level and which are read."""
    last_store: dict[str, int] = {}
    last_load: dict[str, float] = {}
    lazy = any(isinstance(node, ast.With) for node in tree.body)
    for place, statement in enumerate(tree.body):
        simple = isinstance(
            statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr)
        # A function reads names when it is called, and a block may read names
        # that it has assigned itself.
        seen = place - 1 if simple else float('inf')
        for name in _assigned_names(statement):
            last_store[name] = place
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                last_load[node.id] = max(last_load.get(node.id, -1), seen)
            elif isinstance(node, ast.Attribute) and isinstance(
                    node.value, ast.Name) and node.value.id == '_base_':
                file.read_from_bases.add(node.attr)
    file.unread = {
        name
        for name, place in last_store.items()
        if last_load.get(name, -1) < place and name != '_base_'
    }
    if lazy:
        # Bases of lazy configs are imported with *, under their own names.
        file.read_from_bases |= set(last_load) - set(last_store)


def _assigned_names(statement: ast.stmt | ast.ExceptHandler) -> list[str]:
    """Return the names that a statement assigns at top level.

    Loop variables and names of functions and classes are not included.
    """
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
        for name in _assigned_names(part)
    ]
