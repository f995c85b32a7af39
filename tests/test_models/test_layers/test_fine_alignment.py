import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models.layers import FineAlignment


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(5, 6, 4, 3)


@pytest.mark.parametrize('pair', ['cyclic', 'batch_mean'])
def test_what_is_compared(features, pair):
    align = FineAlignment(6, pair).eval()
    predictions, encodings = align(features)
    others = torch.stack([
        features[i - 1] if pair == 'cyclic' else torch.cat(
            [features[:i], features[i + 1:]]).mean(0) for i in range(5)
    ])
    torch.testing.assert_close(encodings[0], align.encoder(features))
    torch.testing.assert_close(encodings[1], align.encoder(others))
    for prediction, encoding in zip(predictions, encodings):
        torch.testing.assert_close(prediction, align.predictor(encoding))


def test_positions_do_not_mix(features):
    align = FineAlignment(6).eval()
    predictions, _ = align(features)
    torch.testing.assert_close(
        align(features.flip(3))[0][0], predictions[0].flip(3))


def test_layers():
    align = FineAlignment(6)
    kinds = [type(layer).__name__ for layer in align.encoder]
    assert kinds == ['Conv2d', 'BatchNorm2d', 'ReLU'] * 2 + ['Conv2d']
    assert len(align.predictor) == 4
    convolutions = [m for m in align.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 5
    assert all(m.kernel_size == (1, 1) for m in convolutions)


def test_unknown_pair():
    with pytest.raises(InputError, match='"cyclic" or "batch_mean"'):
        FineAlignment(6, 'next')
