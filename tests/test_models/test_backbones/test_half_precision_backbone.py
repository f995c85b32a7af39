import pytest
import torch
from tiny_models import TinyBackbone, fit_shard

from mmad.errors import InputError
from mmad.models import (
    HalfPrecisionBackbone,
    PaDiM,
    PatchCore,
    TiledBackbone,
    build_backbone,
)

BITS = dict(bfloat16=8, float16=11)


def images(number=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(number, 3, 48, 64, generator=generator)


@pytest.mark.parametrize('precision', BITS)
def test_maps_are_rounded_and_returned_as_float32(precision):
    inputs, plain = images(), TinyBackbone()
    half = HalfPrecisionBackbone(TinyBackbone(), precision)
    assert half.stages == plain.stages
    assert half.channels == plain.channels
    for level, whole in zip(half(inputs), plain(inputs), strict=True):
        assert level.dtype == torch.float32
        assert not torch.equal(level, whole)
        error = (level - whole).norm() / whole.norm()
        assert error < 4 * 2.0**-BITS[precision]
        # Each number is one of 16 bits.
        assert torch.equal(level, level.to(getattr(torch, precision)).float())


def test_built_of_a_config():
    config = dict(type='DemoBackbone', stages=['layer1'])
    half = build_backbone(dict(config, precision='bfloat16'))
    assert half.name == 'DemoBackbone in bfloat16'
    assert build_backbone(dict(config, precision=None)).name == 'DemoBackbone'
    tiled = build_backbone(
        dict(config, precision='float16', tiles=dict(size=64, overlap=32)))
    assert isinstance(tiled, TiledBackbone)
    assert isinstance(tiled.network, HalfPrecisionBackbone)
    with pytest.raises(InputError, match='precision'):
        build_backbone(dict(config, precision='half'))


def test_a_checkpoint_belongs_to_its_precision():
    whole = PatchCore(TinyBackbone(), num_neighbors=1)
    half = PatchCore(
        HalfPrecisionBackbone(TinyBackbone(), 'bfloat16'), num_neighbors=1)
    assert whole.fingerprint() != half.fingerprint()
    fit_shard(half, images(5))
    with pytest.raises(InputError, match='TinyBackbone in bfloat16'):
        whole.load_state_dict(half.state_dict(), strict=False)


@pytest.mark.parametrize('method', [PatchCore, PaDiM])
def test_what_is_fitted_is_float32(method):
    kwargs = dict(num_neighbors=1) if method is PatchCore else dict(dim=4)
    model = method(HalfPrecisionBackbone(TinyBackbone(), 'bfloat16'), **kwargs)
    fit_shard(model, images(6))
    scores, maps = model(images(3), mode='tensor')
    assert scores.dtype == maps.dtype == torch.float32
    assert scores.isfinite().all()
    assert maps.isfinite().all()
    state = model.state_dict()
    assert not any(value.dtype == torch.bfloat16 for value in state.values())
    again = method(HalfPrecisionBackbone(TinyBackbone(), 'bfloat16'), **kwargs)
    again.load_state_dict(state)
    assert torch.equal(again.eval()(images(3), mode='tensor')[1], maps)


def test_not_trained():
    with pytest.raises(InputError, match='--amp'):
        HalfPrecisionBackbone(TinyBackbone(), 'float16').unfreeze()
