import pytest
from mmengine.config import Config

from mmad.errors import InputError
from mmad.utils.weights import find_backbones, remove_weights, set_weights


def test_backbone():
    model = Config(dict(backbone=dict(type='A', weights='a')))
    set_weights(model, 'b.pth')
    assert model.backbone.weights == 'b.pth'
    remove_weights(model)
    assert model.backbone.weights is None


def test_teachers():
    model = Config(
        dict(type='B', scales=[dict(teacher='a'),
                               dict(teacher=5),
                               dict()]))
    with pytest.raises(
            InputError,
            match=r'of this config has none; name '
            r'the teachers with .*model\.scales\.0\.teacher=FILE'):
        set_weights(model, 'b.pth')
    remove_weights(model)
    assert [scale.get('teacher') for scale in model.scales] == [None] * 3


def test_members():
    model = Config(
        dict(
            type='Ensemble',
            members=[
                dict(backbone=dict(type='A', weights='a')),
                dict(backbone=dict(type='B', weights='b'))
            ]))
    with pytest.raises(
            InputError,
            match=r'have a backbone each; name them .*'
            r'model\.members\.0\.backbone\.weights=FILE'):
        set_weights(model, 'c.pth')
    # As --cfg-options does.
    model.merge_from_dict({'members.1.backbone.weights': 'c.pth'})
    assert [part['weights']
            for part in find_backbones(model).values()] == ['a', 'c.pth']
    remove_weights(model)
    assert {
        place: part['weights']
        for place, part in find_backbones(model).items()
    } == {
        'model.members.0.backbone': None,
        'model.members.1.backbone': None
    }


def test_nothing_to_name():
    model = Config(dict(type='B', backbone=None))
    with pytest.raises(InputError, match='none; leave it out'):
        set_weights(model, 'b.pth')
    remove_weights(model)
    assert model.backbone is None


def test_at_any_depth():
    scale = dict(teacher='a', network=dict(weights='b'))
    model = Config(
        dict(
            backbone=dict(type='B', scales=(scale, [scale])),
            loss=dict(weights=[1, 2])))
    remove_weights(model)
    assert "'a'" not in str(model.to_dict())
    assert "'b'" not in str(model.to_dict())
    assert model.loss == dict(weights=[1, 2])


def test_ways_of_other_packages():
    backbone = dict(
        type='mmpretrain.ResNet',
        pretrained='a.pth',
        init_cfg=dict(type='Pretrained', checkpoint='a.pth'),
        neck=dict(pretrained=True, init_cfg=[dict(type='Pretrained')]))
    model = Config(dict(backbone=backbone, head=dict(pretrained=False)))
    remove_weights(model)
    # The keys stay: they say that there are to be no weights.
    assert model.to_dict() == dict(
        backbone=dict(
            type='mmpretrain.ResNet',
            pretrained=None,
            init_cfg=None,
            neck=dict(pretrained=False, init_cfg=None)),
        head=dict(pretrained=False))
