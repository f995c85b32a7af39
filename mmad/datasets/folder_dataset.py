from collections.abc import Sequence
from pathlib import Path

from mmad.errors import InputError
from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset
from .files import draw, index_masks, list_images


@DATASETS.register_module()
class FolderDataset(AnomalyDataset):
    """Your own pictures, wherever they lie.

    Folders are searched with all that is below them, except for another of
    these folders. The defect kind of a
    picture is the path of its folder inside ``abnormal_dir``.

    Args:
        data_root (str): Folder that the others are relative to.
        split (str): ``'train'``, ``'test'`` or ``'calibration'``.
        normal_dir (str): Pictures of good parts.
        normal_test_dir (str, optional): Good parts to test with. Defaults to
            None: ``holdout`` of ``normal_dir`` is kept from training.
        abnormal_dir (str, optional): Pictures of bad parts. A
            folder called ``good`` directly in it holds good parts.
        mask_dir (str, optional): Masks at the same relative paths as in
            ``abnormal_dir``, with or without ``_mask`` before the suffix.
        holdout (float): Share of ``normal_dir`` to test with where there is
            no ``normal_test_dir``, drawn with ``seed``. Defaults to 0.2.
        seed (int): Of both draws. Defaults to 0.
        pipeline (Sequence[dict]): Transforms.
        indices (int | Sequence[int], optional): Use only the first so many
            images, or these. Defaults to None.
        lazy_init (bool): Scan the folders on first use. Defaults to False.
        calibration (float): Share of what is left that is kept for methods
            which calibrate their scores. Defaults to 0.

    Raises:
        InputError: A folder is missing or empty, or a mask is missing.
    """

    def __init__(self,
                 data_root: str,
                 split: str,
                 normal_dir: str,
                 normal_test_dir: str | None = None,
                 abnormal_dir: str | None = None,
                 mask_dir: str | None = None,
                 holdout: float = 0.2,
                 seed: int = 0,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False,
                 calibration: float = 0.0) -> None:
        if not 0 < holdout < 1:
            raise InputError(f'`holdout` must lie in (0, 1), got {holdout}.')
        self.normal_dir = normal_dir
        self.normal_test_dir = normal_test_dir
        self.abnormal_dir = abnormal_dir
        self.mask_dir = mask_dir
        self.holdout = holdout
        super().__init__(
            data_root,
            split,
            pipeline=pipeline,
            indices=indices,
            lazy_init=lazy_init,
            calibration=calibration,
            seed=seed)

    def load_data_list(self) -> list[dict]:
        normal = self._list('normal_dir')
        if self.normal_test_dir is None:
            held = draw(len(normal), self.holdout, self.seed)
            normal_test = [p for i, p in enumerate(normal) if i in held]
            normal = [p for i, p in enumerate(normal) if i not in held]
            if not normal:
                raise InputError(
                    f'"{self.folder / self.normal_dir}" holds one image only '
                    'and it was held out for testing; add more, or set '
                    '`normal_test_dir`.')
        else:
            normal_test = self._list('normal_test_dir')
        if self.split == 'train':
            return [self.entry(path, 'good') for path in normal]
        return [self.entry(path, 'good')
                for path in normal_test] + self._load_abnormal()

    def _load_abnormal(self) -> list[dict]:
        if self.abnormal_dir is None:
            return []
        images = self.folder / self.abnormal_dir
        truth = masks = None
        if self.mask_dir is not None:
            truth = self.folder / self.mask_dir
            masks = index_masks(truth)
            if not masks:
                raise InputError(f'`mask_dir` "{truth}" holds no images.')
        entries = []
        for path in self._list('abnormal_dir'):
            kind = path.parent.relative_to(images).as_posix()
            if kind.split('/')[0] == 'good':
                entries.append(self.entry(path, 'good'))
                continue
            entries.append(
                self.entry(path, images.name if kind == '.' else kind,
                           self.find_mask(path, images, masks, truth)))
        return entries

    def _list(self, name: str) -> list[Path]:
        folder = self.folder / getattr(self, name)
        # A folder within another one belongs to its own setting alone.
        inside = [
            self.folder / other
            for other in (self.normal_dir, self.normal_test_dir,
                          self.abnormal_dir, self.mask_dir)
            if other is not None and folder in (self.folder / other).parents
        ]
        images = [
            path for path in list_images(folder, recursive=True)
            if not any(other in path.parents for other in inside)
        ]
        if not images:
            raise InputError(
                f'`{name}` "{folder}" does not exist or holds no images.')
        return images
