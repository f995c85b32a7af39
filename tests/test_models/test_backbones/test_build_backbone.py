import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from tiny_models import TinyBackbone
from torch import nn

from mmad.errors import InputError
from mmad.models import ForeignBackbone, PatchCore, build_backbone
from mmad.utils.weights import remove_weights, set_weights

SCOPES = [
    dict(type='otherpkg.ResNet'),
    dict(type='ResNet', _scope_='otherpkg')
]


def config(**kwargs):
    return dict(dict(type='otherpkg.ResNet', out_indices=(0, 2)), **kwargs)


@pytest.fixture
def network(otherpkg):
    # Its layers are looked up under the scope of its package.
    torch.manual_seed(3)
    return build_backbone(config(weights=None)).network


@pytest.fixture
def weights(network, tmp_path):
    """A file of the network, and one of a whole model with a head."""
    state = network.state_dict()
    torch.save(state, tmp_path / 'network.pth')
    whole = {f'backbone.{key}': value for key, value in state.items()}
    torch.save(
        dict(state_dict=dict(whole, fc=torch.ones(2))), tmp_path / 'whole.pth')
    return state


def holds(backbone, state):
    own = backbone.network.state_dict()
    return all(torch.equal(own[key], state[key]) for key in state)


def pretrained(path, **kwargs):
    return dict(type='Pretrained', checkpoint=str(path), **kwargs)


def test_backbones_of_mmad_as_they_are():
    backbone = TinyBackbone()
    assert build_backbone(backbone) is backbone
    built = build_backbone(dict(type='TinyBackbone', stages=['layer3']))
    assert type(built) is TinyBackbone
    assert built.stages == ('layer3', )


def count_calls(graph, inputs):
    """A back end of torch.compile that counts the calls of what it made."""

    def call(*args):
        calls.append(len(args))
        return graph.forward(*args)

    return call


calls: list[int] = []


@pytest.mark.parametrize('more', [
    {},
    dict(precision='bfloat16'),
    dict(tiles=dict(size=64, overlap=32)),
])
@pytest.mark.parametrize('config', [
    dict(type='DemoBackbone'),
    dict(
        type='TorchvisionBackbone',
        name='resnet18',
        stages=['layer1'],
        weights=None)
])
def test_compiled(config, more):
    calls.clear()
    torch.manual_seed(0)
    plain = build_backbone(dict(config, **more))
    torch.manual_seed(0)
    compiled = build_backbone(
        dict(config, compile=dict(backend=count_calls), **more))
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = plain(images)
        assert not calls
        found = compiled(images)
        number = len(calls)
        assert number
        compiled(images)
    assert len(calls) == 2 * number
    rounded = 0.05 if 'precision' in more else 1e-5
    for level, whole in zip(found, expected, strict=True):
        assert (level - whole).abs().max() < rounded * whole.abs().max()
    assert compiled.name == plain.name
    state = plain.state_dict()
    assert compiled.state_dict().keys() == state.keys()
    compiled.load_state_dict(state)


@pytest.mark.parametrize('options', [False, None])
def test_not_compiled(options):
    backbone = build_backbone(dict(type='DemoBackbone', compile=options))
    assert backbone._compiled_call_impl is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [(3, 'must be True or a dict of options, got 3'),
     (dict(beckend='eager'), '`backbone.compile.beckend` .* mean `backend`'),
     (dict(backend='nonsense'), 'is not what torch.compile takes')])
def test_wrong_options_to_compile_with(options, message):
    with pytest.raises(InputError, match=message):
        build_backbone(dict(type='DemoBackbone', compile=options))


def test_a_module_keeps_its_weights(network):
    state = {key: value.clone() for key, value in network.state_dict().items()}
    backbone = build_backbone(network)
    assert isinstance(backbone, ForeignBackbone)
    assert backbone.network is network
    # As a runner does before a training.
    model = PatchCore(backbone)
    model.init_weights()
    assert holds(model.backbone, state)


@pytest.mark.parametrize('scope', SCOPES)
def test_under_the_scope_of_its_package(otherpkg, scope):
    backbone = build_backbone(
        dict(scope, out_indices=(1, 2), norm_eval=True, weights=None))
    assert type(backbone.network) is otherpkg.ResNet
    assert backbone.stages == ('stage1', 'stage2')
    assert backbone.channels == (6, 8)
    assert not any(module.training for module in backbone.train().modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    assert [level.shape
            for level in backbone(torch.rand(2, 3, 16, 16))] == [(2, 6, 4, 4),
                                                                 (2, 8, 2, 2)]


@pytest.mark.parametrize('silent', [
    dict(type='otherpkg.ResNet'),
    dict(type='otherpkg.Plain'),
    dict(type='torch.nn.Conv2d', in_channels=3, out_channels=1, kernel_size=1)
])
@pytest.mark.usefixtures('otherpkg')
def test_never_random_by_silence(silent):
    with pytest.raises(InputError, match='names no weights; give `init_cfg='):
        build_backbone(silent)


@pytest.mark.parametrize(
    'none', [dict(weights=None),
             dict(init_cfg=None),
             dict(init_cfg=[])])
@pytest.mark.usefixtures('otherpkg')
def test_explicitly_none(none):
    torch.manual_seed(0)
    first = build_backbone(config(**none))
    torch.manual_seed(0)
    assert holds(build_backbone(config(**none)), first.network.state_dict())


@pytest.mark.parametrize('given', [
    lambda folder: dict(weights=str(folder / 'network.pth')),
    lambda folder: dict(weights=str(folder / 'whole.pth')),
    lambda folder: dict(init_cfg=pretrained(folder / 'network.pth')),
    lambda folder: dict(init_cfg=[pretrained(folder / 'network.pth')]),
    lambda folder: dict(
        init_cfg=pretrained(folder / 'whole.pth', prefix='backbone.')),
    lambda folder: dict(
        weights=str(folder / 'network.pth'), init_cfg=pretrained('none.pth')),
])
def test_weights_at_once_and_for_good(weights, tmp_path, given):
    backbone = build_backbone(config(**given(tmp_path)))
    assert holds(backbone, weights)
    model = PatchCore(backbone)
    logger = MMLogger.get_current_instance()
    level = logger.level
    model.init_weights()
    assert holds(model.backbone, weights)
    assert logger.level == level != logging.ERROR
    assert not backbone.training


@pytest.mark.usefixtures('weights')
def test_no_line_per_parameter(tmp_path, capfd):
    build_backbone(config(init_cfg=pretrained(tmp_path / 'network.pth')))
    assert 'layers.0.0.weight' not in ''.join(capfd.readouterr())


@pytest.mark.parametrize(('given', 'message'), [
    (dict(weights='none.pth'), r'none\.pth" does not exist'),
    (dict(init_cfg=pretrained('none.pth')), 'none.pth'),
    (dict(weights=3), '`weights` must name a file'),
])
@pytest.mark.usefixtures('otherpkg')
def test_weights_that_are_not_there(given, message):
    with pytest.raises(InputError, match=message) as error:
        build_backbone(config(**given))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('way', [
    lambda path: dict(weights=str(path)),
    lambda path: dict(init_cfg=pretrained(path))
])
def test_weights_that_lack_some(weights, tmp_path, way):
    del weights['layers.2.0.weight']
    torch.save(weights, tmp_path / 'part.pth')
    with pytest.raises(InputError, match=r'lacks 1 .*: layers\.2\.0\.weight'):
        build_backbone(config(**way(tmp_path / 'part.pth')))


@pytest.mark.usefixtures('weights')
def test_an_init_cfg_that_is_not_heeded(tmp_path):
    with pytest.raises(InputError, match='does not heed its `init_cfg`'):
        build_backbone(
            config(
                type='otherpkg.Heedless',
                out_indices=(0, ),
                init_cfg=pretrained(tmp_path / 'network.pth')))


@pytest.mark.usefixtures('otherpkg')
def test_other_initializations_are_the_packages():
    backbone = build_backbone(
        config(init_cfg=dict(type='Constant', val=0.5, layer='Conv2d')))
    assert (backbone.network.layers[0][0].weight == 0.5).all()


@pytest.mark.usefixtures('otherpkg')
def test_arguments_of_base_classes():
    backbone = build_backbone(
        dict(type='otherpkg.Derived', out_indices=[1], weights=None))
    assert backbone.channels == (8, )


@pytest.mark.usefixtures('otherpkg')
def test_stages_name_the_maps():
    backbone = build_backbone(config(weights=None, stages=['fine', 'coarse']))
    assert backbone.stages == ('fine', 'coarse')
    plain = build_backbone(dict(type='otherpkg.Plain', pretrained=None))
    assert plain.stages == ('only', )


@pytest.mark.usefixtures('otherpkg')
def test_names_tell_architectures_apart():
    settings = [
        dict(),
        dict(out_indices=(1, 2)),
        dict(widths=(4, 6, 9)),
        dict(act=dict(type='Mish'))
    ]
    names = {
        build_backbone(config(weights=None, **setting)).name
        for setting in settings
    }
    assert len(names) == len(settings)
    assert all(name.startswith('otherpkg.ResNet(') for name in names)


def test_one_name_however_it_is_written(otherpkg, tmp_path, weights):
    ways = [
        config(weights=None),
        config(init_cfg=None),
        config(type='otherpkg.backbones.ResNet', weights=None),
        config(type=otherpkg.ResNet, weights=None),
        config(type='ResNet', _scope_='otherpkg', weights=None),
        config(out_indices=[0, 2], weights=str(tmp_path / 'network.pth'))
    ]
    assert {build_backbone(way).name
            for way in ways} == {'otherpkg.ResNet(out_indices=[0, 2])'}


@pytest.mark.parametrize(('wrong', 'message'), [
    (dict(type='nopkg.ResNet'), 'install the package "nopkg", or import'),
    (dict(type='NoSuch'), 'no backbone "NoSuch"; import the module'),
    (dict(type='otherpkg.NoModule', weights=None), 'not a module of torch'),
    (dict(), 'must be a dict with its `type`'),
    (7, 'must be a dict with its `type`'),
])
@pytest.mark.usefixtures('otherpkg')
def test_what_is_no_backbone(wrong, message):
    with pytest.raises(InputError, match=message):
        build_backbone(wrong)


@pytest.mark.usefixtures('otherpkg')
def test_no_file_is_read_where_weights_are_forgotten():
    model = Config(dict(backbone=config(init_cfg=pretrained('none.pth'))))
    set_weights(model, 'b.pth')
    remove_weights(model)
    assert isinstance(build_backbone(model.backbone), ForeignBackbone)


def test_a_module_that_returns_one_tensor():
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    with pytest.raises(InputError, match='must return a tuple'):
        build_backbone(network)
