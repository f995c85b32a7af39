from collections.abc import Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS

from .files import index_masks, list_images


@DATASETS.register_module()
class AnomalyDataset(BaseDataset):
    """Images in the layout of MVTec AD.

    ::

        DATA_ROOT/[CATEGORY/]train/good/*.png
                             test/good/*.png
                             test/KIND/STEM.png
                             ground_truth/KIND/STEM_mask.png

    Any usual image suffix will do, for masks too, with or without ``_mask``.
    Without a folder ``ground_truth`` there are no pixel-level labels.

    Args:
        data_root (str): Folder of the data set.
        split (str): ``'train'`` or ``'test'``.
        category (str, optional): Folder below ``data_root``. Defaults to
            None: ``data_root`` is that of the category itself.
        pipeline (Sequence[dict]): Transforms.
        indices (int | Sequence[int], optional): Use only the first so many
            images, or these. Defaults to None.
        lazy_init (bool): Scan the folders on first use. Defaults to False.

    Raises:
        InputError: The folder, the training images or a mask is missing.
    """

    METAINFO = dict(classes=('normal', 'anomalous'))

    def __init__(self,
                 data_root: str,
                 split: str,
                 category: str | None = None,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False) -> None:
        if split not in ('train', 'test'):
            raise InputError(f'`split` must be "train" or "test", got '
                             f'"{split}".')
        self.split = split
        self.category = category
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
                f'{type(self).__name__} expects train/good and test/KIND '
                'below it. Name the place with --data-root (and --category).')
        if self.split == 'train':
            normal = list_images(self.folder / 'train' / 'good')
            if not normal:
                raise InputError(
                    f'there are no images in "{self.folder}/train/good"; '
                    'training needs pictures of good parts there.')
            return [self.entry(path, 'good') for path in normal]
        return self._load_test()

    def _load_test(self) -> list[dict]:
        test, truth = self.folder / 'test', self.folder / 'ground_truth'
        kinds = sorted(p.name for p in test.iterdir()
                       if p.is_dir()) if test.is_dir() else []
        masks = index_masks(truth) if truth.is_dir() else None
        entries = [
            self.entry(path, kind, self.find_mask(path, test, masks, truth))
            for kind in kinds for path in list_images(test / kind)
        ]
        if not entries:
            raise InputError(
                f'there are no images in "{test}/KIND"; testing needs good '
                f'ones in "{test}/good" and defective ones beside it.')
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
                  truth: Path) -> Path | None:
        """The mask of a defective image, looked up by its relative path."""
        relative = path.relative_to(images)
        if masks is None or relative.parts[0] == 'good':
            return None
        stem = relative.with_suffix('').as_posix()
        if stem not in masks:
            raise InputError(
                f'image "{path}" has no mask; expected '
                f'"{truth / stem}_mask.png" (or remove the folder of masks '
                'to go without pixel-level metrics).')
        return masks[stem]
