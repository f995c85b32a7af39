import csv
from itertools import pairwise
from pathlib import Path

from mmad.errors import InputError
from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset
from .files import (
    Skipped,
    add_skipped,
    find_names,
    join_below,
    require_folder_or_nothing,
    require_plain_name,
)
from .overlap import report_overlap

_COLUMNS = ('object', 'split', 'label', 'image', 'mask')


@DATASETS.register_module()
class VisA(AnomalyDataset):
    """One category of the Visual Anomaly data set, in its one-class split.

    Zou et al., "SPot-the-Difference Self-Supervised Pre-training for Anomaly
    Detection and Segmentation", ECCV 2022. CC BY 4.0.

    It is read in the layout of the download::

        DATA_ROOT/split_csv/1cls.csv
                  CATEGORY/Data/Images/Normal/*.JPG
                  CATEGORY/Data/Images/Anomaly/*.JPG
                  CATEGORY/Data/Masks/Anomaly/*.png

    The table has one label for all defects, so the only defect type is
    ``anomaly``. Without ``Data/Masks`` there are no pixel-level labels.
    Arguments are those of :class:`~mmad.datasets.AnomalyDataset`;
    ``category`` is one of :attr:`CATEGORIES`.

    Raises:
        InputError: If the category is unknown, the table is missing or
            invalid, an image or a mask in the table is missing or has a path
            outside ``data_root``, or an image is both a training image and a
            test image.
    """

    CATEGORIES = ('candle', 'capsules', 'cashew', 'chewinggum', 'fryum',
                  'macaroni1', 'macaroni2', 'pcb1', 'pcb2', 'pcb3', 'pcb4',
                  'pipe_fryum')

    def load_data_list(self) -> list[dict]:
        root = self.folder.parent
        table = root / 'split_csv' / '1cls.csv'
        if not table.is_file():
            raise InputError(
                f'the table "{table}" does not exist; VisA expects '
                f'split_csv/1cls.csv and {self.category}/Data/Images below '
                f'"{root}". Name the folder with --data-root.')
        try:
            return self._load_table(root, table)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f'the table "{table}" cannot be read ({error}); '
                             'use that of the download.') from error

    def _load_table(self, root: Path, table: Path) -> list[dict]:
        # Spreadsheet programs write a byte order mark.
        with open(table, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(
                    f'the table "{table}" does not have the columns '
                    f'{",".join(_COLUMNS)}; use that of the download.')
            listed = [row for row in reader if row['object'] == self.category]
        rows = [row for row in listed if row['split'] == self.split]
        if not rows:
            raise InputError(
                f'the table "{table}" lists no images of {self.category} to '
                f'{self.split} with; use that of the download.')
        rows.sort(key=lambda row: row['image'] or '')
        entries = [self._read(row, root, table) for row in rows]
        for one, other in pairwise(entries):
            if one['img_path'] == other['img_path']:
                raise InputError(
                    f'the table "{table}" lists "{one["img_path"]}" twice; '
                    'remove one of the rows.')
        if self.split == 'test':
            train = [
                self._path(row, 'image', root, table) for row in listed
                if row['split'] == 'train'
            ]
            report_overlap(f'{type(self).__name__} by "{table}"',
                           [path for path in train if path.is_file()],
                           [Path(entry['img_path']) for entry in entries])
        self.report(entries, self._find_unlisted(listed, root, table))
        return entries

    def _find_unlisted(self, listed: list[dict], root: Path,
                       table: Path) -> Skipped:
        require_folder_or_nothing(self.folder / 'Data' / 'Masks')
        images, skipped = find_names(
            self.folder / 'Data' / 'Images', recursive=True)
        known = {str(self._path(row, 'image', root, table)) for row in listed}
        unlisted = [path for path in images if path not in known]
        return add_skipped(skipped,
                           {f'that "{table}" does not list': unlisted})

    @staticmethod
    def _path(row: dict, column: str, root: Path, table: Path) -> Path:
        return join_below(root, row[column],
                          f'the {column} in a row of "{table}"')

    def _read(self, row: dict, root: Path, table: Path) -> dict:
        image, mask = self._path(row, 'image', root, table), None
        if not image.is_file():
            raise InputError(
                f'image "{image}" does not exist, but "{table}" lists it; '
                'unpack the whole download.')
        if row['label'] == 'normal':
            return self.entry(image, 'good')
        if self.split == 'train':
            raise InputError(
                f'the table "{table}" lists the defective "{image}" for '
                'training; use the one-class table of the download.')
        if (self.folder / 'Data' / 'Masks').is_dir():
            mask = self._path(row, 'mask', root, table)
            if not mask.is_file():
                raise InputError(f'image "{image}" has no mask; expected '
                                 f'"{mask}"; unpack the whole download.')
        label = require_plain_name(row['label'],
                                   f'the label in a row of "{table}"')
        if label == 'good':
            raise InputError(
                f'the table "{table}" gives "{image}" the label "good"; use '
                'the label "normal" for normal images.')
        return self.entry(image, label, mask)
