from collections.abc import Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import check_number

from .files import (
    Skipped,
    add_skipped,
    draw,
    find_images,
    list_folders,
    list_images,
    plain_name,
    require_folder_or_nothing,
)
from .found import report_found
from .indices import check_indices
from .mask_files import find_masks
from .overlap import report_overlap


@DATASETS.register_module()
class AnomalyDataset(BaseDataset):
    """Images in the layout of MVTec AD.

    ::

        DATA_ROOT/[CATEGORY/]train/good/*.png
                             test/good/*.png
                             test/KIND/STEM.png
                             ground_truth/KIND/STEM_mask.png

    Any usual image suffix will do, for masks too, with or without ``_mask``.
    Without a folder ``ground_truth`` there are no pixel-level labels. What is
    taken, and what is left out and why, is a line of the log. A
    subclass for a data set with other names sets the attributes below.

    Args:
        data_root (str): Folder of the data set.
        split (str): ``'train'``, ``'test'``, or ``'calibration'`` for the
            training images that are kept from ``'train'``.
        category (str, optional): Folder directly in ``data_root``, a plain
            name. Defaults to None: ``data_root`` is that of the category
            itself.
        calibration (float): Share of the training images that are kept for
            methods which calibrate their scores, at least one, drawn with
            ``seed``. Defaults to 0: none.
        seed (int): Defaults to 0.
        pipeline (Sequence[dict]): Transforms.
        indices (int | Sequence[int], optional): Use only the first so many
            images, or these. Defaults to None.
        lazy_init (bool): Scan the folders on first use. Defaults to False.

    Attributes:
        CATEGORIES (tuple[str, ...]): What ``category`` may be. Empty: any
            name, or None.
        NORMAL (str): Folder of the good parts.
        TRUTH (str, optional): Folder of the masks. None: image level only.
        LAYOUT (str): What an error says of the folders.

    Raises:
        InputError: The category is unknown, the folder, the training images
            or a mask is missing, a mask might belong to several images, or
            an image is to be trained and tested with.
    """

    METAINFO = dict(classes=('normal', 'anomalous'))
    CATEGORIES: tuple[str, ...] = ()
    NORMAL = 'good'
    TRUTH: str | None = 'ground_truth'
    LAYOUT = 'train/good and test/KIND'

    def __init__(self,
                 data_root: str,
                 split: str,
                 category: str | None = None,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False,
                 calibration: float = 0.0,
                 seed: int = 0) -> None:
        if split not in ('train', 'test', 'calibration'):
            raise InputError('`split` must be "train", "test" or '
                             f'"calibration", got "{split}".')
        if not isinstance(data_root, str | Path):
            raise InputError('`data_root` must be the path of a folder, got '
                             f'{data_root!r}.')
        check_number('calibration', calibration, low=0, below=1)
        check_number('seed', seed, low=0, integer=True)
        check_indices(indices)
        if split == 'calibration' and calibration == 0:
            raise InputError(
                'no images are kept for calibration; set `calibration` of '
                'the training data set, to 0.1 say.')
        if self.CATEGORIES and category not in self.CATEGORIES:
            raise InputError(
                f'{type(self).__name__} has no category "{category}"; it has '
                f'{", ".join(self.CATEGORIES)}.')
        if category:
            plain_name(category, '`category`')
        self.split = 'test' if split == 'test' else 'train'
        self.category = category
        self.calibration = calibration
        self.seed = seed
        self._is_kept = split == 'calibration'
        super().__init__(
            data_root=str(data_root),
            pipeline=list(pipeline),
            indices=indices,
            test_mode=split == 'test',
            lazy_init=lazy_init)

    @property
    def folder(self) -> Path:
        """Folder of the category."""
        root = Path(self.data_root).expanduser()
        return root / self.category if self.category else root

    def load_data_list(self) -> list[dict]:
        self.require_folder()
        load = self._load_train if self.split == 'train' else self._load_test
        entries, skipped = load()
        self.report(entries, skipped)
        return entries

    def require_folder(self) -> None:
        """Raise :class:`InputError` if there is no such folder."""
        if not self.folder.is_dir():
            problem = ('is a file' if self.folder.is_file() else
                       'does not exist')
            raise InputError(
                f'the data folder "{self.folder}" {problem}; '
                f'{self.expected}. Name the place with --data-root (and '
                '--category).')

    def files(self) -> list[Path]:
        """The image files, in order; none where the images are arrays."""
        paths = (Path(self.get_data_info(index)['img_path'])
                 for index in range(len(self)))
        return [path for path in paths if path.is_file()]

    def check_overlap(self, test: BaseDataset) -> None:
        """Compare with images to test with that may lie elsewhere.

        Raises:
            InputError: An image is among both.
        """
        if isinstance(test, AnomalyDataset):
            report_overlap(type(self).__name__, self.files(), test.files())

    def report(self, entries: list[dict], skipped: Skipped) -> None:
        """Say in the log what was found."""
        report_found(f'{type(self).__name__} ({self.split})', self.folder,
                     entries, skipped)

    def filter_data(self) -> list[dict]:
        """Part the training images from those kept for calibration."""
        entries = self.data_list
        if self.split == 'train' and self.calibration:
            if len(entries) < 2:
                raise InputError(
                    f'"{self.folder}" has one training image, which cannot be '
                    'both trained and calibrated with; add more.')
            kept = draw(len(entries), self.calibration, self.seed)
            entries = [
                entry for number, entry in enumerate(entries)
                if (number in kept) == self._is_kept
            ]
        check_indices(self._indices, len(entries))
        return entries

    @property
    def expected(self) -> str:
        """The layout in words, for errors."""
        return (f'{type(self).__name__} expects {self.LAYOUT} below '
                f'"{self.folder}"')

    def _load_train(self) -> tuple[list[dict], Skipped]:
        folder = self.folder / 'train' / self.NORMAL
        normal, skipped = find_images(folder)
        if not normal:
            raise InputError(
                f'there are no images in "{folder}"; training needs '
                f'images of good parts there ({self.expected}).')
        add_skipped(skipped, *self._beside('train', [self.NORMAL]))
        return [self.entry(path, 'good') for path in normal], skipped

    def _load_test(self) -> tuple[list[dict], Skipped]:
        test = self.folder / 'test'
        kinds = list_folders(test)
        normal = (self.NORMAL, 'good')
        for kind in kinds:
            if kind.casefold() in normal and kind not in normal:
                raise InputError(
                    f'the folder "{test / kind}" would be a kind of defect, '
                    f'since good parts are in "{self.NORMAL}"; rename it.')
        found, skipped = {}, {}
        for kind in kinds:
            found[kind], more = find_images(test / kind)
            add_skipped(skipped, more)
        add_skipped(skipped, *self._beside('test', kinds))
        if not any(found.values()):
            raise InputError(
                f'there are no images in "{test}/KIND"; testing needs good '
                f'ones in "{test / self.NORMAL}" and defective ones beside '
                f'it ({self.expected}).')
        truth = self.folder / self.TRUTH if self.TRUTH else None
        images = [path for kind in kinds for path in found[kind]]
        report_overlap(
            type(self).__name__,
            list_images(self.folder / 'train' / self.NORMAL), images)
        masks = {}
        require_folder_or_nothing(truth)
        if truth is not None and truth.is_dir():
            defective = [path for kind in kinds
                         if kind not in normal
                         for path in found[kind]]
            masks, more = find_masks(defective, images, test, truth)
            add_skipped(skipped, more)
        return [
            self.entry(path, 'good' if kind == self.NORMAL else kind,
                       masks.get(path))
            for kind in kinds for path in found[kind]
        ], skipped

    def _beside(self, part: str, names: list[str]) -> tuple[Skipped, Skipped]:
        """Images beside the folders that are read, and other files there."""
        parent = self.folder / part
        images, skipped = find_images(
            parent, recursive=True, without=[parent / name for name in names])
        return {'in no folder that is read': images}, skipped

    def entry(self, path: Path, kind: str, mask: Path | None = None) -> dict:
        """What the pipeline gets of one image.

        Raises:
            InputError: The kind is no name that a folder could have.
        """
        for part in kind.split('/'):
            plain_name(part, f'the kind of defect of "{path}"')
        return dict(
            img_path=str(path),
            mask_path=None if mask is None else str(mask),
            kind=kind,
            category=self.category or self.folder.name,
            gt_label=int(kind != 'good'))
