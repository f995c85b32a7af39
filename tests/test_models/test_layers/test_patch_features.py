import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmad.errors import InputError
from mmad.models.layers import patch_features
from mmad.models.layers.patch_features import PatchFeatures


def draw(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize('patch_size', [1, 3, 5])
def test_concat(patch_size):
    maps = draw((2, 4, 10, 12), (2, 6, 5, 6), (2, 3, 3, 4))
    found = PatchFeatures('concat', patch_size)(maps)
    pooled = [
        F.avg_pool2d(
            level, patch_size, 1, patch_size // 2, count_include_pad=True)
        for level in maps
    ]
    expected = torch.cat([pooled[0]] + [
        F.interpolate(level, (10, 12), mode='bilinear', align_corners=False)
        for level in pooled[1:]
    ], 1)
    assert found.shape == (2, 13, 10, 12)
    assert torch.equal(found, expected)


def test_padding_counts_in_the_mean():
    found = PatchFeatures()([torch.ones(1, 1, 4, 4)])[0, 0]
    assert float(found[0, 0]) == pytest.approx(4 / 9)
    assert float(found[0, 1]) == pytest.approx(6 / 9)
    assert float(found[1, 1]) == pytest.approx(1)


def test_official_equals_the_closed_form_of_wide_resnet50():
    level2, level3 = maps = draw((1, 512, 6, 8), (1, 1024, 3, 4))
    kernel = torch.full((512, 1, 3, 3), 0.1)
    kernel[:, :, 1, 1] = 0.2
    first = F.conv2d(level2, kernel, padding=1, groups=512)
    pooled = F.interpolate(
        F.avg_pool2d(level3, 3, 1, 1), (6, 8), mode='bilinear')
    second = pooled.unflatten(1, (512, 2)).mean(2)
    found = PatchFeatures('official')(maps)
    assert found.shape == (1, 1024, 6, 8)
    torch.testing.assert_close(
        found, torch.cat([first, second], 1), rtol=0, atol=1e-5)


def adaptive_pool(values, dim):
    """Average the last axis over `dim` windows that cover it."""
    length = values.shape[-1]
    return np.stack([
        values[..., i * length // dim:-(-(i + 1) * length // dim)].mean(-1)
        for i in range(dim)
    ], -1)


@pytest.mark.parametrize(
    ('channels', 'dim', 'patch_size'),
    [
        ((5, 9), 7, 3),
        ((5, 9), 8, 3),
        ((8, 16), 64, 3),  # more values than a patch of the first has
        ((8, 16), 16, 5),
        ((6, 12, 24), 12, 3),
        ((6, 12, 24), 10, 3),  # means over parts of two stages
        ((16, 8), 4, 1),
        ((12, ), 6, 5),
    ])
def test_official_as_the_authors_write_it(channels, dim, patch_size):
    # Flattened patches, channel first, are pooled to `dim`, then the stages.
    maps = draw(*[(2, number, 8 >> i, 12 >> i)
                  for i, number in enumerate(channels)])
    levels = []
    for level in maps:
        pad = [(0, 0)] * 2 + [(patch_size // 2, ) * 2] * 2
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(level.double().numpy(), pad), (patch_size, patch_size),
            (2, 3))
        patches = windows.transpose(0, 2, 3, 1, 4, 5)
        pooled = adaptive_pool(patches.reshape(*patches.shape[:3], -1), dim)
        levels.append(
            F.interpolate(
                torch.from_numpy(pooled).permute(0, 3, 1, 2), (8, 12),
                mode='bilinear'))
    joined = torch.cat(levels, 1).permute(0, 2, 3, 1).numpy()
    expected = torch.from_numpy(adaptive_pool(joined, dim))
    found = PatchFeatures('official', patch_size, dim)(maps)
    assert found.shape == (2, dim, 8, 12)
    torch.testing.assert_close(found, expected.permute(0, 3, 1, 2).float())


@pytest.mark.parametrize('stage_dim', [None, 7, 11, 14, 28])
def test_official_with_longer_stages(stage_dim):
    # Patch by patch, with other channel counts and an odd dimension.
    maps = draw((2, 5, 4, 6), (2, 9, 2, 3))
    found = PatchFeatures('official', dim=7, stage_dim=stage_dim)(maps)
    size = stage_dim or 7
    pooled = []
    for level in maps:
        padded = F.pad(level, (1, 1, 1, 1))
        height, width = level.shape[-2:]
        grid = torch.stack([
            F.adaptive_avg_pool1d(
                padded[:, :, i:i + 3, j:j + 3].flatten(1)[:, None], size)[:, 0]
            for i in range(height) for j in range(width)
        ], 2).unflatten(2, (height, width))
        pooled.append(F.interpolate(grid, (4, 6), mode='bilinear'))
    expected = F.adaptive_avg_pool1d(
        torch.cat(pooled, 1).permute(0, 2, 3, 1).reshape(2, 24, 2 * size), 7)
    torch.testing.assert_close(found,
                               expected.transpose(1, 2).unflatten(2, (4, 6)))


def test_official_with_single_cells():
    level, = draw((1, 12, 3, 3))
    found = PatchFeatures('official', patch_size=1, dim=4)([level])
    torch.testing.assert_close(found, level.unflatten(1, (4, 3)).mean(2))


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(embedding='sum'), '"concat" or "official", got "sum"'),
    (dict(patch_size=2), '`patch_size` must be odd and positive, got 2'),
    (dict(patch_size=-1), 'got -1'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        PatchFeatures(**kwargs)


def test_large_images_take_another_way_to_the_same(monkeypatch):
    maps = draw((2, 40, 13, 17), (2, 70, 7, 9))
    features = PatchFeatures()
    expected = features(maps)
    monkeypatch.setattr(patch_features, '_LARGE', 0)
    assert torch.equal(features(maps), expected)
