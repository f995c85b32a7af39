import typing
from collections.abc import Sequence
from pathlib import Path

import pytest
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import Registry
from mmengine.runner import IterBasedTrainLoop, ValLoop

from mmad.errors import InputError
from mmad.registry import MODELS, TRANSFORMS
from mmad.utils.config_parts import (
    check_integer,
    check_keys,
    check_part,
    check_value,
    constructor_parameters,
    short_repr,
)

OWN = Registry('own')


@OWN.register_module()
class Part:

    def __init__(self, size: int, name: str = 'a', factor=1.0):
        pass


@OWN.register_module()
class Open:

    def __init__(self, size: int, **kwargs):
        pass


@pytest.mark.parametrize('part', [
    dict(type='Part', size=1),
    dict(type='Part', size=1, name='b'),
    dict(type=Part, size=1, factor=2),
    dict(size=1),
    dict(type='Open', size=1, anything=2)
])
def test_parts_that_can_be_built(part):
    check_part('it', part, OWN, default_type='Part')


@pytest.mark.parametrize(
    ('part', 'match'),
    [(3, '`it` .* must be a dict'), (None, 'must be a dict'),
     (dict(type='Prat', size=1), 'did you mean `Part`'),
     (dict(type=3, size=1), '`it.type`'),
     (dict(type='Part'), 'Part needs `size`'),
     (dict(type='Part', size=1, nmae='b'), 'did you mean `name`'),
     (dict(type='Part', size='1'), '`it.size` .* an integer'),
     (dict(type='Part', size=True), '`it.size`'),
     (dict(type='Part', size=1, name=None), '`it.name` .* a string'),
     (dict(type='Part', size=1, factor='2'), '`it.factor` .* a number')])
def test_parts_that_cannot(part, match):
    with pytest.raises(InputError, match=match):
        check_part('it', part, OWN)


def test_what_is_read_of_any_backbone():
    own = dict(type=Part, size=1)
    given = dict(own, weights='a.pth', stages=['a'])
    check_part('model', dict(type='MKD', backbone=given, cloner=own), MODELS)
    with pytest.raises(InputError, match=r'`model\.cloner` .*no `stages`'):
        check_part('model', dict(type='MKD', backbone=given, cloner=given),
                   MODELS)


def test_arguments_from_elsewhere_and_keys_of_others():
    check_part('it', dict(type='Part', priority=1), OWN, ('size', ),
               ('priority', ))


@pytest.mark.parametrize('inner', [
    dict(type='Resise'), [[dict(type='Resise')]],
    dict(type='Resize', scale=(1, 1), scael=2), 3
])
def test_parts_of_parts(inner):
    with pytest.raises(InputError, match=r'`it\.transforms'):
        check_part('it', dict(type='Compose', transforms=inner), TRANSFORMS)


@pytest.mark.parametrize(('kind', 'name'), [(CheckpointHook, 'max_keep_ckpts'),
                                            (CheckpointHook, 'save_optimizer'),
                                            (EMAHook, 'momentum'),
                                            (IterBasedTrainLoop, 'max_iters'),
                                            (ValLoop, 'fp16')])
def test_arguments_that_are_passed_on(kind, name):
    assert name in constructor_parameters(kind)
    assert 'nonesuch' not in constructor_parameters(kind)


def test_what_takes_anything():
    assert constructor_parameters(Open) is None


@pytest.mark.parametrize(
    ('value', 'annotation', 'fits'), [(1, int, True), (1.0, int, False),
                                      (True, int, False), (1, float, True),
                                      ('a', float, False),
                                      (None, int | None, True),
                                      (None, int, False),
                                      ('a', typing.Literal['a', 'b'], True),
                                      ('c', typing.Literal['a', 'b'], False),
                                      ([1], list[int], True),
                                      (['a'], list[int], False),
                                      ('ab', Sequence[str], False),
                                      ((1, 2), tuple[int, int], True),
                                      ((1, ), tuple[int, int], False),
                                      ((1, 2, 3), tuple[int, ...], True),
                                      ('a', Path, True), (3, Path, False),
                                      (3, typing.Any, True), (3, object, True),
                                      ({}, dict, True), ([], dict, False),
                                      ('a', str | Sequence[str], True)])
def test_values(value, annotation, fits):
    if fits:
        check_value('it', value, annotation)
        return
    with pytest.raises(InputError, match='`it` of the config must be'):
        check_value('it', value, annotation)


@pytest.mark.parametrize('value', [None, 1, 7])
def test_integers(value):
    check_integer('it', dict(a=value), 'a', 1, below=8)
    check_integer('it', {}, 'a', 1)


@pytest.mark.parametrize('value', [0, 8, 1.0, True, '1'])
def test_what_is_no_integer(value):
    with pytest.raises(InputError, match=r'`it\.a` must be a whole number'):
        check_integer('it', dict(a=value), 'a', 1, below=8)


def test_keys():
    check_keys('it', dict(a=1), ('a', 'b'))
    for part in (3, dict(c=1)):
        with pytest.raises(InputError, match='`it'):
            check_keys('it', part, ('a', 'b'))


def test_long_values_are_cut():
    assert len(short_repr('a' * 1000)) == 60
    assert short_repr([1]) == '[1]'
