import dataclasses

import pytest

from mmad.structures import Saturation


@pytest.mark.parametrize(
    ('threshold', 'is_relative', 'region', 'scale', 'area'), [
        (30, False, 100, 1, 30),
        (30, False, 20, 1, 20),
        (30, False, 20, 0.1, 3),
        (30, False, 100, 0.01, 0.3),
        (30, False, 2, 0.1, 2),
        (0.5, True, 7, 1, 3),
        (0.5, True, 1, 1, 1),
        (0.5, True, 7, 0.1, 3.5),
        (1.0, True, 7, 1, 7),
        (1.0, True, 7, 0.1, 7),
    ])
def test_area(threshold, is_relative, region, scale, area):
    saturation = Saturation(threshold, is_relative)
    assert saturation.area(region, scale) == pytest.approx(area)
    assert 0 < saturation.area(region, scale) <= region


def test_it_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Saturation(1, False).threshold = 2
