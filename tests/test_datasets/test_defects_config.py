import json

import pytest
from small_data import LOCO_DEFECTS

from mmad.datasets.defects_config import read_defects_config
from mmad.errors import InputError
from mmad.structures import Saturation


@pytest.fixture
def write(tmp_path):
    """Write the table of a category; its path."""

    def write_table(entries):
        path = tmp_path / 'defects_config.json'
        path.write_text(json.dumps(entries))
        return path

    return write_table


def test_each_value_has_a_saturation(write):
    assert read_defects_config(write(LOCO_DEFECTS)) == {
        255: Saturation(30, False),
        254: Saturation(0.5, True),
        237: Saturation(1.0, True)
    }


@pytest.mark.parametrize(('change', 'message'), [
    (dict(pixel_value=0), 'pixel_value in entry 1 of ".*at least 1'),
    (dict(pixel_value=256), 'at most 255'),
    (dict(pixel_value=1.5), 'whole number'),
    (dict(pixel_value=255), 'pixel_value 255 twice'),
    (dict(relative_saturation=1), 'must be True or False, got 1'),
    (dict(saturation_threshold=0), 'above 0'),
    (dict(saturation_threshold=1.01), 'at most 1'),
    (dict(saturation_threshold='0.5'), "got '0.5'"),
    (dict(relative_saturation=False), 'whole number'),
    (dict(relative_saturation=False, saturation_threshold=0), 'at least 1'),
])
def test_entries_are_checked(write, change, message):
    path = write([LOCO_DEFECTS[0], {**LOCO_DEFECTS[1], **change}])
    with pytest.raises(InputError, match=message):
        read_defects_config(path)


@pytest.mark.parametrize(('entries', 'message'), [
    ({}, 'is not a list'),
    ([3], 'entry 0 of ".*" does not have pixel_value, saturation_threshold'),
    ([dict(pixel_value=1, relative_saturation=True)], 'does not have'),
])
def test_its_form_is_checked(write, entries, message):
    with pytest.raises(InputError, match=message):
        read_defects_config(write(entries))


def test_a_broken_file(tmp_path):
    path = tmp_path / 'defects_config.json'
    with pytest.raises(InputError, match='FileNotFoundError'):
        read_defects_config(path)
    path.write_bytes(b'[{')
    with pytest.raises(InputError, match=r'cannot be read \(JSONDecodeError'):
        read_defects_config(path)
    path.write_bytes(b'\xff\xfe\xfa')
    with pytest.raises(InputError, match='cannot be read'):
        read_defects_config(path)
