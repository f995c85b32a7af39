from collections.abc import Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS

from .files import draw, index_masks, list_images


@DATASETS.register_module()
class AnomalyDataset(BaseDataset):
    """Images in the layout of MVTec AD.

    ::

        DATA_ROOT/[CATEGORY/]train/good/*.png
                             test/good/*.png
                             test/KIND/STEM.png
                             ground_truth/KIND/STEM_mask.png

    Any usual image suffix will do, for masks too, with or without ``_mask``.
    Without a folder ``ground_truth`` there are no pixel-level labels. A
    subclass for a data set with other names sets the attributes below.

    Args:
        data_root (str): Folder of the data set.
        split (str): ``'train'``, ``'test'``, or ``'calibration'`` for the
            training images that are kept from ``'train'``.
        category (str, optional): Folder below ``data_root``. Defaults to
            None: ``data_root`` is that of the category itself.
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
        InputError: The category is unknown, or the folder, the training
            images or a mask is missing.
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
        if not 0 <= calibration < 1:
            raise InputError('`calibration` must lie in [0, 1), got '
                             f'{calibration}.')
        if split == 'calibration' and calibration == 0:
            raise InputError(
                'no images are kept for calibration; set `calibration` of '
                'the training data set, to 0.1 say.')
        if self.CATEGORIES and category not in self.CATEGORIES:
            raise InputError(
                f'{type(self).__name__} has no category "{category}"; it has '
                f'{", ".join(self.CATEGORIES)}.')
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
        if not self.folder.is_dir():
            raise InputError(
                f'the data folder "{self.folder}" does not exist; '
                f'{self.expected}. Name the place with --data-root (and '
                '--category).')
        if self.split == 'train':
            folder = self.folder / 'train' / self.NORMAL
            normal = list_images(folder)
            if not normal:
                raise InputError(
                    f'there are no images in "{folder}"; training needs '
                    f'pictures of good parts there ({self.expected}).')
            return [self.entry(path, 'good') for path in normal]
        return self._load_test()

    def filter_data(self) -> list[dict]:
        """Part the training images from those kept for calibration."""
        entries = self.data_list
        if self.split == 'test' or not self.calibration:
            return entries
        if len(entries) < 2:
            raise InputError(
                f'"{self.folder}" has one training image, which cannot be '
                'both trained and calibrated with; add more.')
        kept = draw(len(entries), self.calibration, self.seed)
        return [
            entry for number, entry in enumerate(entries)
            if (number in kept) == self._is_kept
        ]

    @property
    def expected(self) -> str:
        """The layout in words, for errors."""
        return (f'{type(self).__name__} expects {self.LAYOUT} below '
                f'"{self.folder}"')

    def _load_test(self) -> list[dict]:
        test = self.folder / 'test'
        truth = self.folder / self.TRUTH if self.TRUTH else None
        masks = index_masks(truth) if truth and truth.is_dir() else None
        folders = sorted(p.name for p in test.iterdir()
                         if p.is_dir()) if test.is_dir() else []
        entries = []
        for folder in folders:
            for path in list_images(test / folder):
                if folder == self.NORMAL:
                    entries.append(self.entry(path, 'good'))
                else:
                    mask = self.find_mask(path, test, masks, truth)
                    entries.append(self.entry(path, folder, mask))
        if not entries:
            raise InputError(
                f'there are no images in "{test}/KIND"; testing needs good '
                f'ones in "{test / self.NORMAL}" and defective ones beside '
                f'it ({self.expected}).')
        return entries

    def entry(self, path: Path, kind: str, mask: Path | None = None) -> dict:
        """What the pipeline gets of one image."""
        return dict(
            img_path=str(path),
            mask_path=None if mask is None else str(mask),
            kind=kind,
            category=self.category or self.folder.name,
            gt_label=int(kind != 'good'))

    @staticmethod
    def find_mask(path: Path, images: Path, masks: dict[str, Path] | None,
                  truth: Path | None) -> Path | None:
        """The mask of a defective image, looked up by its relative path."""
        if masks is None:
            return None
        stem = path.relative_to(images).with_suffix('').as_posix()
        if stem not in masks:
            raise InputError(
                f'image "{path}" has no mask; expected '
                f'"{truth / stem}_mask.png" (or remove the folder of masks '
                'to go without pixel-level metrics).')
        return masks[stem]
