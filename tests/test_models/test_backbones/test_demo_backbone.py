from pathlib import Path

import pytest
import torch

from mmad.errors import InputError
from mmad.models.backbones import DemoBackbone, demo_backbone
from mmad.registry import MODELS

STAGES = ('layer1', 'layer2', 'layer3')
SHIPPED = Path(demo_backbone.__file__).with_suffix('.pth')


def test_stages_have_the_documented_shapes():
    maps = DemoBackbone(STAGES)(torch.zeros(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 32, 16, 24), (2, 64, 8, 12),
                                              (2, 128, 4, 6)]


def test_order_of_stages_is_kept():
    images = torch.randn(1, 3, 64, 64)
    low, high = DemoBackbone(('layer1', 'layer2'))(images)
    high_first, low_second = DemoBackbone(('layer2', 'layer1'))(images)
    torch.testing.assert_close(high, high_first, rtol=0, atol=0)
    torch.testing.assert_close(low, low_second, rtol=0, atol=0)


def test_is_cut_behind_the_last_stage():
    backbone = DemoBackbone(('layer1', ))
    assert [name for name, _ in backbone.body.named_children()
            ] == ['stem', 'layer1']


def test_default_loads_the_shipped_weights():
    backbone = MODELS.build(dict(type='DemoBackbone'))
    assert backbone.stages == ('layer2', 'layer3')
    shipped = torch.load(SHIPPED, weights_only=True)
    for name, tensor in backbone.body.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, shipped[name].float())


def test_shipped_file_is_small_and_finite():
    assert SHIPPED.stat().st_size <= 2_000_000
    shipped = torch.load(SHIPPED, weights_only=True)
    assert all(tensor.isfinite().all() for tensor in shipped.values())


def test_is_frozen():
    backbone = DemoBackbone(weights=None).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())


def test_random_weights_follow_the_seed():
    images = torch.randn(1, 3, 64, 64)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(DemoBackbone(weights=None)(images)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_local_file(tmp_path):
    source = DemoBackbone(STAGES, weights=None)
    path = tmp_path / 'weights.pth'
    torch.save(source.body.state_dict(), path)
    loaded = DemoBackbone(STAGES, weights=str(path))
    images = torch.randn(1, 3, 64, 64)
    for a, b in zip(source(images), loaded(images), strict=True):
        assert torch.equal(a, b)


def test_unknown_stage_is_named():
    with pytest.raises(InputError, match='layer4'):
        DemoBackbone(('layer2', 'layer4'))


def test_missing_file_is_named():
    with pytest.raises(InputError, match=r'nowhere\.pth'):
        DemoBackbone(weights='nowhere.pth')
