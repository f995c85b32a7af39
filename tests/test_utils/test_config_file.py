import random
from pathlib import Path

import pytest

from mmad.errors import InputError
from mmad.utils.config_file import KEYS, read_config

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / 'configs').rglob('*.py'))
MODEL = "model = dict(type='PatchCore', ratio=1)\n"


@pytest.fixture
def write(tmp_path):

    def write_file(text, name='leaf.py'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.write_bytes if isinstance(text, bytes) else path.write_text)(
            text)
        return path

    return write_file


@pytest.mark.parametrize(
    'path', SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_configs_have_no_dead_keys(path):
    assert set(read_config(path)) <= KEYS


@pytest.mark.parametrize('seed', range(20))
def test_a_misspelt_key_is_named_wherever_it_stands(write, seed):
    """In any file of a chain, in any form of assignment."""
    rng = random.Random(seed)
    letters = list(rng.choice(sorted(KEYS - {'model'})))
    letters.insert(rng.randrange(1, len(letters)), rng.choice('qxz'))
    key = ''.join(letters)
    form = rng.choice([
        '{} = 1\n', '{}: int = 1\n', 'if True:\n    {} = 1\n',
        'other = 2\n{} = other\n', '{} = work_dir = "x"\n',
        'try:\n    {} = 1\nexcept KeyError:\n    pass\n'
    ])
    place = rng.randrange(3)
    for level, name in enumerate(['base.py', 'middle.py', 'leaf.py']):
        lines = [MODEL] if level == 0 else [
            f"_base_ = '{['base.py', 'middle.py'][level - 1]}'\n"
        ]
        if level == place:
            lines.insert(rng.randrange(2), form.format(key))
        path = write(''.join(lines), name)
    wrong = ['base.py', 'middle.py', 'leaf.py'][place]
    with pytest.raises(InputError, match=f'`{key}` of config ".*{wrong}"'):
        read_config(path)


@pytest.mark.parametrize('text', [
    'ratio = 2\nmodel = dict(ratio=ratio)\n',
    'ratio: int = 2\nmodel = dict(ratio=ratio)\n',
    'parts = dict(ratio=2)\nmodel = dict(**parts)\n',
    'for ratio in (1, 2):\n    model = dict(ratio=ratio)\n',
    'ratio = 2\ndef make():\n    return ratio\nmodel = dict(ratio=make())\n',
    'ratio = 1\nratio += 1\nmodel = dict(ratio=ratio)\n',
    'ratio = len("ab")\nmodel = [dict(ratio=r) for r in (ratio, )][0]\n',
])
def test_helpers_are_used_and_left_out(write, text):
    cfg = read_config(write(text))
    assert dict(cfg) == dict(model=dict(ratio=2))
    again = read_config(write(cfg.pretty_text, 'again.py'))
    assert dict(again) == dict(cfg)


@pytest.mark.parametrize('heir', [
    "_base_ = 'base.py'\nmodel = dict(ratio=_base_.ratio)\n",
    "_base_ = 'base.py'\nmodel = dict(ratio={{_base_.ratio}})\n",
])
def test_helpers_for_heirs(write, heir):
    write('ratio = 2\n' + MODEL, 'base.py')
    assert read_config(write(heir)).model.ratio == 2
    write("_base_ = 'base.py'\n")
    with pytest.raises(InputError, match=r'base\.py'):
        read_config(write("_base_ = 'base.py'\n"))


def test_a_helper_set_after_its_use_changes_nothing(write):
    with pytest.raises(InputError, match='reads the key `ratio`'):
        read_config(write('ratio = 2\nmodel = dict(ratio=ratio)\nratio = 3'))


def test_a_helper_of_the_base_is_not_one_of_the_heir(write):
    write('root = "a"\nmodel = dict(root=root)\n', 'base.py')
    with pytest.raises(InputError, match=r'`root` of config ".*leaf\.py"'):
        read_config(write("_base_ = 'base.py'\nroot = 'b'\n"))


def test_lazy_configs(write):
    read = 'from mmengine.config import read_base\n'
    write(read + 'ratio = 2\nmodel = dict(ratio=1)\n', 'base.py')
    heir = read + 'with read_base():\n    from .base import *\n'
    assert read_config(write(heir +
                             'model.update(ratio=ratio)\n')).model.ratio == 2
    with pytest.raises(InputError, match='`modle`'):
        read_config(write(heir + 'model.update(ratio=ratio)\nmodle = 1\n'))


@pytest.mark.parametrize(('name', 'text', 'word'), [
    ('a.yaml', 'modle: {a: 1}', 'did you mean `model`'),
    ('a.json', '{"modle": 1}', 'did you mean `model`'),
    ('a.py', 'data_root = 1', 'use --data-root'),
    ('a.py', 'pipeline = []', 'dataset.pipeline'),
    ('a.py', 'model = dict(a=1\n', 'line 1 is no valid Python'),
    ('a.py', 'model = 1\nmodel = 1 / 0\n', 'line 2, cannot be read: Zero'),
    ('a.py', "_base_ = 'b.py'\nimport nonesuch", 'nonesuch'),
    ('a.py', 'x', 'NameError'),
    ('a.py', 'raise SystemExit(0)', 'SystemExit'),
    ('a.py', b'\xff\xfe', 'cannot be read as text'),
    ('a.py', b'a = \x00', 'no valid Python'),
    ('a.txt', 'model = 1', 'must end in .py'),
    ('a.json', '{', 'no valid json'),
    ('a.json', '[1]', 'holds no keys'),
    ('a.yaml', 'a: [', 'no valid yaml'),
    ('a.py', "_base_ = 'none.py'", 'none.py'),
    ('a.py', "_base_ = 'a.py'", 'base of itself'),
    ('a.py', '_base_ = 3', 'must be a path'),
    ('a.py', "custom_imports = dict(imports=['nonesuch'])", '"nonesuch"'),
    ('a.py', "custom_imports = 'nonesuch'", 'must be a dict'),
    ('a.py', 'custom_imports = dict(imports=[3])', 'list of modules'),
    ('a.py', 'custom_imports = dict(imports=".own")', 'list of modules'),
    ('a.py', 'custom_imports = dict(imports=["../x"])', 'list of modules'),
])
def test_what_is_no_config_is_one_sentence(write, name, text, word):
    write(MODEL, 'b.py')
    with pytest.raises(InputError, match=r'^[^\n]*$') as error:
        read_config(write(text, name))
    assert word in str(error.value)


def test_a_circle_of_bases(write):
    write("_base_ = 'sub/b.py'", 'a.py')
    path = write("_base_ = '../a.py'", 'sub/b.py')
    with pytest.raises(InputError, match='base of itself'):
        read_config(path)


def test_a_bug_in_an_imported_module_keeps_its_traceback(write, monkeypatch):
    path = write('1 / 0', 'own_bug_module.py')
    monkeypatch.syspath_prepend(path.parent)
    with pytest.raises(ZeroDivisionError):
        read_config(write("custom_imports = dict(imports='own_bug_module')"))


TEXT = "work_dir = '{{$MMAD_DATA:data}}/x'\n"


@pytest.mark.parametrize('seed', range(30))
def test_variables_arrive_unchanged_or_not_at_all(write, monkeypatch, seed):
    rng = random.Random(seed)
    value = ''.join(rng.choices('ab/\\\'"{}\n\tnt$ #é:.', k=rng.randrange(8)))
    monkeypatch.setenv('MMAD_DATA', value)
    path = write(TEXT)
    if value and not set(value) & set('\\\'"{}\n\t'):
        assert read_config(path).work_dir == f'{value}/x'
    else:
        with pytest.raises(InputError, match=r'^[^\n]*MMAD_DATA[^\n]*$'):
            read_config(path)


def test_default_of_a_variable(write, monkeypatch):
    monkeypatch.delenv('MMAD_DATA', raising=False)
    assert read_config(write(TEXT)).work_dir == 'data/x'


@pytest.mark.parametrize('text', [
    'ds: &ds {ratio: 2}\nmodel: *ds\n',
    'ds: &ds {ratio: 2}\nmodel: {<<: *ds}\n',
    'number: &number 2\nmodel: {ratio: *number}\n',
    'ds: {inside: [&number 2]}\nmodel: {ratio: *number}\n',
])
def test_anchors_of_yaml_are_helpers(write, text):
    assert dict(read_config(write(text,
                                  'a.yaml'))) == dict(model=dict(ratio=2))
    with pytest.raises(InputError, match='reads the key `other`'):
        read_config(write(text + 'other: &other 2\n', 'b.yml'))
