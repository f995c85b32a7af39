import pytest

from mmad.models.normalization import describe_normalization
from mmad.registry import MODELS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.mark.parametrize('make', [dict, MODELS.build])
@pytest.mark.parametrize('order',
                         [{}, dict(bgr_to_rgb=True),
                          dict(rgb_to_bgr=True)])
def test_of_config_and_module(make, order):
    found = describe_normalization(
        make(dict(type='ImgDataPreprocessor', mean=MEAN, std=STD, **order)))
    assert found == dict(mean=MEAN, std=STD, reversed_channels=bool(order))


@pytest.mark.parametrize('make', [dict, MODELS.build])
def test_none(make):
    assert describe_normalization(None) is None
    plain = make(dict(type='ImgDataPreprocessor'))
    assert describe_normalization(plain) == dict(
        mean=None, std=None, reversed_channels=False)
