import pytest

from mmad.datasets import MagneticTile
from mmad.errors import InputError


def test_layout(mvtec_root):
    root = str(mvtec_root / 'bottle')
    assert len(MagneticTile(root, 'train')) == 7
    assert {e['defect_type']
            for e in MagneticTile(root, 'test')
            } == {'good', 'hole', 'scratch'}


def test_download_is_to_be_converted(tmp_path):
    (tmp_path / 'MT_Free/Imgs').mkdir(parents=True)
    with pytest.raises(
            InputError,
            match=(r'no images in ".*/train/good".*converters/magnetic_tile')):
        MagneticTile(str(tmp_path), 'train')
