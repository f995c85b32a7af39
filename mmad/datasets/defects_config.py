"""Read the saturation areas of MVTec LOCO AD."""
import json
from pathlib import Path
from typing import Any

from mmad.errors import InputError
from mmad.structures import Saturation
from mmad.utils import check_flag, check_number


def read_defects_config(path: Path) -> dict[int, Saturation]:
    """Read how much of a region has to be found, by the values of masks.

    The file is a list with an entry for each kind of defect, of which
    ``pixel_value``, ``saturation_threshold`` and ``relative_saturation`` are
    read.

    Args:
        path (Path): File ``defects_config.json`` of a category.

    Returns:
        dict[int, Saturation]: Saturation of the regions with each value.

    Raises:
        InputError: If the file is missing or not such a list, an entry is
            incomplete or out of range, or a value occurs twice.
    """
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise InputError(
            f'the table of defects "{path}" cannot be read '
            f'({type(error).__name__}), but the masks need it; use that of '
            'the download.') from error
    if not isinstance(entries, list):
        raise InputError(f'the table of defects "{path}" is not a list; use '
                         'that of the download.')
    found: dict[int, Saturation] = {}
    for number, entry in enumerate(entries):
        value, saturation = _read_entry(entry, f'entry {number} of "{path}"')
        if value in found:
            raise InputError(f'the table of defects "{path}" has the '
                             f'pixel_value {value} twice; use that of the '
                             'download.')
        found[value] = saturation
    return found


def _read_entry(entry: Any, where: str) -> tuple[int, Saturation]:
    keys = ('pixel_value', 'saturation_threshold', 'relative_saturation')
    if not isinstance(entry, dict) or not set(keys) <= entry.keys():
        raise InputError(f'{where} does not have {", ".join(keys)}; use the '
                         'table of the download.')
    value, threshold, is_relative = (entry[key] for key in keys)
    check_number(f'pixel_value in {where}', value, 1, 255, integer=True)
    check_flag(f'relative_saturation in {where}', is_relative)
    if is_relative:
        check_number(
            f'saturation_threshold in {where}', threshold, high=1, above=0)
    else:
        check_number(
            f'saturation_threshold in {where}', threshold, 1, integer=True)
    return value, Saturation(threshold, is_relative)
