import builtins

import pytest
import torch

from mmad.errors import InputError
from mmad.models import TIMMBackbone

timm = pytest.importorskip(
    'timm', reason='timm is not installed; it is in the extra "tests"')

VIT = 'vit_tiny_patch16_224'
SMALL = dict(depth=3, embed_dim=24, num_heads=3)


def build(name='resnet18',
          stages=('layer2', 'layer3'),
          weights=None,
          **kwargs):
    return TIMMBackbone(name, list(stages), weights, **kwargs)


def vit(stages=('blocks.1', 'blocks.2'), weights=None, name=VIT, **kwargs):
    kwargs.setdefault('model_args', SMALL)
    return build(name, stages, weights, **kwargs)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 64, 96, generator=generator)


@pytest.mark.parametrize(('name', 'stages', 'indices', 'args'), [
    ('resnet18', ('layer2', 'layer3'), (2, 3), {}),
    ('convnext_atto', ('stages.0', 'stages.2'), (0, 2), {}),
    ('efficientnet_b0', ('blocks.1', 'blocks.4'), (1, 3), {}),
    (VIT, ('blocks.0', 'blocks.2'), (0, 2), SMALL),
    ('vit_small_patch14_dinov2', ('blocks.2', ), (2, ), SMALL),
    ('vit_small_patch14_reg4_dinov2', ('blocks.2', ), (2, ), SMALL),
    ('vit_small_patch16_dinov3', ('blocks.1', 'blocks.2'), (1, 2), SMALL),
])
def test_the_features_of_timm(images, name, stages, indices, args):
    # A multiple of all patches.
    images = images[:1].repeat(1, 1, 4, 4)[..., :112, :224]
    torch.manual_seed(0)
    expected = timm.create_model(
        name,
        features_only=True,
        out_indices=indices,
        **args,
        **(dict(dynamic_img_size=True) if args else {})).eval()
    torch.manual_seed(0)
    backbone = build(name, stages, model_args=args)
    if not args:
        # Some are built in another order.
        expected.load_state_dict(backbone.body.state_dict(), strict=False)
    with torch.no_grad():
        maps = backbone(images)
        for level, other in zip(maps, expected(images), strict=True):
            torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)
    assert backbone.stages == stages
    assert backbone.channels == tuple(level.shape[1] for level in maps)


@pytest.mark.parametrize('make', [
    lambda stages: build(stages=stages), lambda stages: vit([
        stage.replace('layer', 'blocks.').replace('3', '0') for stage in stages
    ])
])
def test_stages_in_the_order_asked_for(images, make):
    torch.manual_seed(0)
    first, second = make(['layer2', 'layer3'])(images)
    torch.manual_seed(0)
    backbone = make(['layer3', 'layer2'])
    assert torch.equal(backbone(images)[0], second)
    assert torch.equal(backbone(images)[1], first)
    assert backbone.channels == (second.shape[1], first.shape[1])


def test_the_final_normalization(images):
    torch.manual_seed(0)
    raw, = vit(['blocks.2'])(images)
    torch.manual_seed(0)
    backbone = vit(['blocks.2'], norm=True)
    normed, = backbone(images)
    expected = backbone.body.norm(raw.permute(0, 2, 3, 1))
    torch.testing.assert_close(normed.permute(0, 2, 3, 1), expected)


def test_frozen():
    for backbone in (build().train(), vit().train()):
        assert not any(module.training for module in backbone.modules())
        assert not any(p.requires_grad for p in backbone.parameters())


def test_cut_behind_the_last_stage():
    names = [key for key, _ in vit(['blocks.0']).body.named_parameters()]
    assert any('blocks.0' in name for name in names)
    assert not any('blocks.1' in name or 'head' in name for name in names)


def test_names_tell_architectures_apart():
    names = [
        backbone.name for backbone in (build(), vit(), vit(norm=True),
                                       vit(model_args=dict(SMALL, depth=4)))
    ]
    assert len(set(names)) == 4
    assert names[0] == 'timm.resnet18'


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
@pytest.mark.parametrize('make', [build, vit])
def test_local_file(tmp_path, ending, make):
    name = 'resnet18' if make is build else VIT
    path = tmp_path / f'weights.{ending}'
    source = timm.create_model(name, **(SMALL if make is vit else {}))
    if ending == 'pth':
        torch.save(source.state_dict(), path)
    else:
        from safetensors.torch import save_file
        save_file(source.state_dict(), path)
    loaded = make(weights=str(path)).body.state_dict()
    assert len(loaded) > 10
    assert all(
        torch.equal(value,
                    source.state_dict()[key]) for key, value in loaded.items())


@pytest.mark.parametrize(('file', 'message'), [
    (None, 'does not exist; give the path of a local file, or "pretrained"'),
    (dict(conv1=torch.zeros(3)), r'does not fit "resnet18" of timm'),
    (b'no file of torch', r'does not fit "resnet18" of timm'),
])
def test_broken_file(tmp_path, file, message):
    path = tmp_path / 'weights.pth'
    if isinstance(file, bytes):
        path.write_bytes(file)
    elif file is not None:
        torch.save(file, path)
    with pytest.raises(InputError, match=message) as error:
        build(weights=str(path))
    assert '\n' not in str(error.value)


def test_no_network(monkeypatch):

    def refuse(*args, **kwargs):
        raise OSError('no way out')

    monkeypatch.setattr('timm.models._builder.load_pretrained', refuse)
    with pytest.raises(
            InputError,
            match=r'cannot be fetched by timm \(no way '
            r'out\); fetch "model.safetensors" from huggingface\.co'
            r'/timm/resnet18.* local file with --weights FILE'):
        build(weights='pretrained')


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(name='resnet19'), 'no model "resnet19"; did you mean `resnet18`'),
    (dict(name='resnet18.nonsense'), 'no weights of the tag in "resnet18.n'),
    (dict(name=3), 'no model "3"'),
    (dict(stages=['layer5']), r"no stages \['layer5'\]; choose from act1, la"),
    (dict(weights=3), '`weights` must name a file'),
    (dict(norm=1), '`norm` must be True or False'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        build(**kwargs)


def test_size_must_divide_into_patches(images):
    with pytest.raises(
            InputError,
            match=r'images of 90x64 pixels do not '
            r'divide into the patches .* such as 96x64'):
        vit()(images[..., :90])


def test_a_network_of_one_size(images):
    backbone = vit(model_args=dict(SMALL, img_size=64))
    assert backbone(images[..., :64])[0].shape == (2, 24, 4, 4)
    with pytest.raises(InputError, match='cannot take images of 96x64'):
        backbone(images)


def test_without_the_package(monkeypatch):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == 'timm':
            raise ModuleNotFoundError("No module named 'timm'", name='timm')
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(InputError, match=r'pip install "mmad\[timm\]"'):
        build()
