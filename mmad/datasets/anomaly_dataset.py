import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import check_choice, check_folder, check_number

from .files import (
    Skipped,
    add_skipped,
    find_names,
    list_folders,
    require_folder_or_nothing,
    require_plain_name,
)
from .indices import check_indices
from .mask_matching import match_masks
from .overlap import digest_names, report_overlap
from .scan_log import log_scan
from .shared_annotations import SharedAnnotations


@DATASETS.register_module()
class AnomalyDataset(SharedAnnotations):
    """Base class of the data sets, for data in the layout of MVTec AD.

    ::

        DATA_ROOT/[CATEGORY/]train/good/*.png
                             test/good/*.png
                             test/DEFECT_TYPE/STEM.png
                             ground_truth/DEFECT_TYPE/STEM_mask.png

    Images and masks may have any common image suffix, and the names of masks
    may or may not end in ``_mask``. Without a folder ``ground_truth``, there
    are no pixel-level labels. The log says which files were used, and which
    were skipped and why. A subclass for a data set with other names sets the
    attributes below.

    Args:
        data_root (str): Folder of the data set.
        split (str): ``'train'`` or ``'test'``, or another of
            :attr:`SPLITS`.
        category (str, optional): Name of the folder of the category, which is
            directly in ``data_root``. Defaults to None: ``data_root`` itself
            is the folder of the category.
        pipeline (Sequence[dict]): Configs of the transforms.
        indices (int | Sequence[int], optional): Use only this many images
            from the start, or only the images with these indices. Defaults to
            None: all images.
        lazy_init (bool): Scan the folders on first use. Defaults to False.
        metainfo (dict, optional): Further information on the data set, or
            other names of its ``classes``. Defaults to None.
        serialize_data (bool): Keep the annotations in one array, which worker
            processes share. Defaults to True.
        max_refetch (int): How often an image for which the pipeline returns
            None is replaced by another one, drawn at random. Only for
            training by gradients. Defaults to 0: raise an error instead.

    Attributes:
        CATEGORIES (tuple[str, ...]): Allowed values of ``category``; if
            empty, any name or None.
        SPLITS (tuple[str, ...]): Allowed values of ``split``. Those besides
            ``'test'`` are folders of normal images.
        TEST (str): Name of the folder of the test images.
        NORMAL (str): Name of the folder of the normal images.
        TRUTH (str): Path of the folder of the masks in that of the category.
        LAYOUT (str): Description of the folders, for messages.

    Raises:
        InputError: If the category is unknown, the folder, the training
            images or a mask is missing, a mask might belong to several
            images, or an image is both a training image and a test image.
    """

    METAINFO = dict(classes=('normal', 'anomalous'))
    CATEGORIES: tuple[str, ...] = ()
    SPLITS: tuple[str, ...] = ('train', 'test')
    TEST = 'test'
    NORMAL = 'good'
    TRUTH = 'ground_truth'
    LAYOUT = 'train/good and test/DEFECT_TYPE'

    def __init__(self,
                 data_root: str,
                 split: str,
                 category: str | None = None,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False,
                 metainfo: Mapping | None = None,
                 serialize_data: bool = True,
                 max_refetch: int = 0) -> None:
        check_choice('split', split, self.SPLITS)
        check_folder('data_root', data_root)
        check_indices(indices)
        check_number('max_refetch', max_refetch, low=0, integer=True)
        if self.CATEGORIES and category not in self.CATEGORIES:
            raise InputError(
                f'{type(self).__name__} has no category "{category}"; it has '
                f'{", ".join(self.CATEGORIES)}.')
        if category:
            require_plain_name(category, '`category`')
        self.split = split
        self.category = category
        self._training: bytes | None = None
        super().__init__(
            metainfo=metainfo,
            data_root=str(data_root),
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            test_mode=split != 'train',
            lazy_init=lazy_init,
            max_refetch=max_refetch)

    @property
    def folder(self) -> Path:
        """Folder of the category."""
        root = Path(self.data_root).expanduser()
        return root / self.category if self.category else root

    @cached_property
    def _category_name(self) -> str:
        return self.category or self.folder.name

    def load_data_list(self) -> list[dict]:
        self.require_folder()
        load = self._load_test if self.split == 'test' else self._load_normal
        entries, skipped = load()
        self.report(entries, skipped)
        return entries

    def prepare_data(self, idx: int) -> Any:
        """Pass one image through the pipeline.

        Raises:
            InputError: If the pipeline returns None, and the image may not be
                replaced by another one.
        """
        data = super().prepare_data(idx)
        if data is None and (self.test_mode or not self.max_refetch):
            raise InputError(
                'the pipeline returns None for the image '
                f'"{self.get_data_info(idx)["img_path"]}", but each image is '
                'needed; correct the step that leaves it out, or, for '
                'training by gradients, set `max_refetch` of the data set.')
        return data

    def require_folder(self) -> None:
        """Check that the folder of the category exists.

        Raises:
            InputError: If it does not.
        """
        if not self.folder.is_dir():
            problem = ('is a file'
                       if self.folder.is_file() else 'does not exist')
            raise InputError(
                f'the data folder "{self.folder}" {problem}; '
                f'{self.expected}. Name the folder with --data-root (and '
                '--category).')

    def files(self) -> list[str]:
        """List the image files in order; empty if images are arrays."""
        paths = (
            self.get_data_info(index)['img_path']
            for index in range(len(self)))
        return [path for path in paths if os.path.isfile(path)]

    def check_overlap(self, test: BaseDataset) -> None:
        """Refuse a test set that contains an image of this training set.

        Args:
            test (BaseDataset): The test set, which may be in another folder.

        Raises:
            InputError: If an image is in both data sets.
        """
        if not isinstance(test, AnomalyDataset):
            return
        # Otherwise it has been compared with these images, at its scan.
        if self._training is None or self._training != test._training:
            report_overlap(type(self).__name__, self.files(), test.files())

    def report(self, entries: list[dict], skipped: Skipped) -> None:
        """Log which files were used and which were skipped."""
        log_scan(f'{type(self).__name__} ({self.split})', self.folder, entries,
                 skipped)

    def filter_data(self) -> list[dict]:
        """Keep all images, and check that ``indices`` are in range."""
        check_indices(self._indices, len(self.data_list))
        return self.data_list

    @property
    def expected(self) -> str:
        """Description of the layout, for messages."""
        return (f'{type(self).__name__} expects {self.LAYOUT} below '
                f'"{self.folder}"')

    def find_masks(self, defective: list[str], images: list[str],
                   truth: Path) -> tuple[dict[str, str], Skipped]:
        """Find the masks of the defective images.

        Args:
            defective (list[str]): Images that need a mask.
            images (list[str]): All test images.
            truth (Path): Folder of the masks.

        Returns:
            tuple[dict[str, str], Skipped]: The mask of each defective image
            and the skipped files, by reason.

        Raises:
            InputError: If an image has no mask.
        """
        return match_masks(defective, images, self.folder / self.TEST, truth)

    def _load_normal(self) -> tuple[list[dict], Skipped]:
        parent = self.folder / self.split
        folder = parent / self.NORMAL
        normal, skipped = find_names(folder)
        if not normal:
            purpose = ' for training' if self.split == 'train' else ''
            raise InputError(
                f'there are no images in "{folder}"; put normal images'
                f'{purpose} there ({self.expected}).')
        if self.split == 'train':
            self._training = digest_names(normal)
        else:
            self._compare_with_training(normal)
        add_skipped(skipped, *self._find_unread_files(parent, [folder]))
        return [self.entry(path, 'good') for path in normal], skipped

    def _compare_with_training(self, images: Sequence[str | Path]) -> None:
        training, _ = find_names(self.folder / 'train' / self.NORMAL)
        self._training = digest_names(training)
        report_overlap(type(self).__name__, training, images)

    def _load_test(self) -> tuple[list[dict], Skipped]:
        test, truth = self.folder / self.TEST, self.folder / self.TRUTH
        names = [name for name in list_folders(test) if test / name != truth]
        normal = (self.NORMAL, 'good')
        for name in names:
            if name.casefold() in normal and name not in normal:
                raise InputError(
                    f'the folder "{test / name}" would be a defect type, '
                    f'since normal images are in "{self.NORMAL}"; rename it.')
        found: dict[str, list[str]] = {}
        skipped: Skipped = {}
        for name in names:
            found[name], more = find_names(test / name)
            add_skipped(skipped, more)
        read = [*(test / name for name in names), truth]
        add_skipped(skipped, *self._find_unread_files(test, read))
        if not any(found.values()):
            raise InputError(
                f'there are no images in "{test}/DEFECT_TYPE"; put normal '
                f'images in "{test / self.NORMAL}" and defective ones beside '
                f'it ({self.expected}).')
        images = [path for name in names for path in found[name]]
        self._compare_with_training(images)
        masks: dict[str, str] = {}
        require_folder_or_nothing(truth)
        if truth.is_dir():
            defective = [
                path for name in names if name not in normal
                for path in found[name]
            ]
            masks, more = self.find_masks(defective, images, truth)
            add_skipped(skipped, more)
        return [
            self.entry(path, 'good' if name == self.NORMAL else name,
                       masks.get(path)) for name in names
            for path in found[name]
        ], skipped

    @staticmethod
    def _find_unread_files(parent: Path,
                           read: list[Path]) -> tuple[Skipped, Skipped]:
        """Find the files that are in none of the folders that are read."""
        images, skipped = find_names(parent, recursive=True, without=read)
        return {'in no folder that is read': images}, skipped

    def entry(self,
              path: str | Path,
              defect_type: str,
              mask: str | Path | None = None) -> dict:
        """Make the annotation of one image, the input of the pipeline.

        Raises:
            InputError: If the defect type is not a valid name of a folder.
        """
        if defect_type != 'good':
            for part in defect_type.split('/'):
                require_plain_name(part, f'the defect type of "{path}"')
        return dict(
            img_path=str(path),
            mask_path=None if mask is None else str(mask),
            defect_type=defect_type,
            category=self._category_name,
            gt_label=int(defect_type != 'good'))
