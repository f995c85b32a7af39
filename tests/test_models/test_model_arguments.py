"""Arguments of all registered models and of all layers, by signature."""
import inspect
import math
from collections.abc import Sequence
from importlib.util import find_spec
from types import UnionType
from typing import Union, get_args, get_origin

import pytest
from torch import nn

import mmad.models
from mmad.errors import InputError
from mmad.models import layers
from mmad.registry import MODELS

BACKBONE = dict(type='TinyBackbone')
NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.02, out_channels=4)
# What a class cannot be made without, or what lets an argument take effect.
NEEDED = dict(
    ChannelReduction=dict(kind='random', dim=3),
    Ensemble=dict(members=[dict(type='PaDiM', backbone=BACKBONE)]),
    FYD=dict(backbone=BACKBONE),
    FineAlignment=dict(channels=4),
    FrozenBackbone=dict(stages=['layer2']),
    Gallery=dict(num_levels=2),
    MKD=dict(
        backbone=BACKBONE,
        cloner=dict(type='Cloner', widths=[[6], [10]], points=[0, 1])),
    PaDiM=dict(backbone=BACKBONE),
    PatchCore=dict(backbone=BACKBONE),
    PatchNetwork=dict(patch_size=17, width=0.02, out_channels=4),
    PatchTeacher=dict(network=NETWORK, backbone=BACKBONE),
    PixelStatistics=dict(subject='the teacher'),
    PyramidStore=dict(num_levels=2),
    SPADE=dict(
        backbone=BACKBONE,
        image_stage='layer3',
        pyramid_stages=['layer2', 'layer3']),
    SpatialTransformer=dict(channels=3),
    StageGaussians=dict(num_stages=2),
    StudentEnsemble=dict(
        teacher=nn.Identity(), students=[nn.Identity()], name='p17'),
    TIMMBackbone=dict(name='resnet18', stages=['layer1'], weights=None),
    TorchvisionBackbone=dict(name='resnet18', stages=['layer1'], weights=None),
    TorchvisionResNet=dict(name='resnet18', stages=['layer1'], weights=None),
    UninformedStudents=dict(scales=[dict(network=NETWORK)]),
    ZScores=dict(num_detectors=2))
NUMBERS = [math.nan, math.inf, -math.inf, -1, -0.5, '1', 'abc', True, [], {}]


def parts():
    found = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if cls.__module__.startswith('mmad.')
    }
    found.update({
        name: value
        for name, value in vars(layers).items()
        if inspect.isclass(value) and issubclass(value, nn.Module)
    })
    assert set(mmad.models.__all__) & set(found)
    if find_spec('timm') is None:
        del found['TIMMBackbone']
    return found


def kinds_of(annotation):
    if get_origin(annotation) in (UnionType, Union):
        return set(get_args(annotation))
    return {annotation}


def wrong_values(annotation):
    """Values that an argument annotated like this must refuse."""
    kinds = kinds_of(annotation)
    sequences = [
        kind for kind in kinds if get_origin(kind) in (list, tuple, Sequence)
    ]
    of = {item for kind in sequences for item in get_args(kind)}
    if kinds & {int, float}:
        return [
            *NUMBERS, *([] if type(None) in kinds else [None]),
            *([] if float in kinds else [1.5])
        ]
    if bool in kinds:
        return ['False', 1, None, math.nan]
    if of & {int}:
        return [[value] for value in (*NUMBERS, 1.5, None)] + ['1', 1, {}]
    if of & {str}:
        return [math.nan, 1, [1], [math.nan], {}, 'layer2']
    return []


def cases():
    for name, cls in sorted(parts().items()):
        for argument, parameter in inspect.signature(cls).parameters.items():
            for value in wrong_values(parameter.annotation):
                # A single stage may be named without a list.
                if argument == 'pyramid_stages' and value == 'layer2':
                    continue
                yield pytest.param(
                    cls, argument, value, id=f'{name}-{argument}-{value!r}')


@pytest.mark.parametrize(('cls', 'argument', 'value'), list(cases()))
def test_wrong_numbers_are_refused(cls, argument, value):
    kwargs = dict(NEEDED.get(cls.__name__, {}), **{argument: value})
    with pytest.raises(InputError) as error:
        cls(**kwargs)
    sentence = str(error.value)
    assert argument in sentence or 'the stages' in sentence
    assert sentence.endswith('.')


@pytest.mark.parametrize('name', sorted(parts()))
def test_right_arguments_are_accepted(name):
    parts()[name](**NEEDED.get(name, {}))


@pytest.mark.parametrize(
    ('cls', 'kwargs'),
    [(layers.AnomalyMap, dict(sigma=1e9)),
     (layers.ChannelReduction, dict(dim=0)),
     (layers.PositionGaussians, dict(epsilon=0)),
     (layers.PositionGaussians, dict(epsilon=1e-300)),
     (mmad.models.PatchCore, dict(projection_dim=0)),
     (mmad.models.PatchCore, dict(coreset_ratio=1.01)),
     (mmad.models.PatchCore, dict(patch_features=3)),
     (mmad.models.PatchCore, dict(memory_bank='faiss')),
     (mmad.models.PatchCore, dict(backbone='resnet18')),
     (mmad.models.PatchCore, dict(backbone={})),
     (mmad.models.MKD, dict(attribution=5)),
     (mmad.models.MKD, dict(loss_weight=math.nan)),
     (mmad.models.FYD, dict(ica=dict(max_angle=math.nan))),
     (mmad.models.FYD, dict(fas=dict(stages=[{}]))),
     (mmad.models.PaDiM, dict(reduction=['random'])),
     (mmad.models.Cloner, dict(widths=[[8, math.nan]])),
     (mmad.models.Cloner, dict(widths=[[]])),
     (mmad.models.Cloner, dict(widths=8)),
     (mmad.models.UninformedStudents, dict(scales=[3])),
     (mmad.models.UninformedStudents, dict(scales=NETWORK))])
def test_wrong_arguments_are_refused(cls, kwargs):
    with pytest.raises(InputError):
        cls(**dict(NEEDED.get(cls.__name__, {}), **kwargs))
