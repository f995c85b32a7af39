"""Tables of the true poses of the parts in images.

They are CSV files with the columns ``file``, the end of the path of an image;
``angle`` of its part in degrees, clockwise; and ``x`` and ``y`` of the center
of the part, from the left and from the top, as a share of the image's width
and height.
"""
import csv
import math
from collections.abc import Iterable
from pathlib import Path

from mmad.errors import InputError

_COLUMNS = ['file', 'angle', 'x', 'y']

Pose = tuple[float, float, float]


def write_poses(path: Path, poses: Iterable[tuple[str, Pose]]) -> None:
    """Write the table of the ``(angle, x, y)`` of each file."""
    with open(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(_COLUMNS)
        for name, (angle, x, y) in poses:
            writer.writerow([name, f'{angle:.4f}', f'{x:.6f}', f'{y:.6f}'])


def read_poses(path: str | Path) -> dict[str, Pose]:
    """Read the ``(angle, x, y)`` of each file.

    Raises:
        InputError: If the table cannot be read, has other columns, or has
            something else than finite numbers.
    """
    poses = {}
    try:
        # Spreadsheet programs write a byte order mark.
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(f'the table of poses "{path}" must have the '
                                 f'columns {",".join(_COLUMNS)}.')
            for row in reader:
                poses[row['file']] = _pose(row, f'{path}:{reader.line_num}')
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'the table of poses "{path}" cannot be read '
                         f'({reason}); name a CSV file.') from error
    return poses


def find_pose(poses: dict[str, Pose], img_path: str) -> Pose:
    """Find the pose of an image by the end of its path.

    Raises:
        InputError: If the table does not list the image.
    """
    parts = Path(img_path).parts
    for start in range(len(parts)):
        name = '/'.join(parts[start:])
        if name in poses:
            return poses[name]
    raise InputError(f'the table of poses does not list "{img_path}"; add a '
                     'row, whose `file` is the end of this path.')


def _pose(row: dict, where: str) -> Pose:
    try:
        angle, x, y = (float(row[name]) for name in _COLUMNS[1:])
    except (TypeError, ValueError):
        angle = x = y = math.nan
    if not all(map(math.isfinite, (angle, x, y))):
        raise InputError(f'"{where}" must have finite numbers for angle, x '
                         'and y.')
    return angle, x, y
