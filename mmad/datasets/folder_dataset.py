import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import check_number
from mmad.utils.packed_names import pack_names, unpack_names

from .anomaly_dataset import AnomalyDataset
from .files import Skipped, add_skipped, draw_subset, find_names, relative_name
from .mask_matching import match_masks
from .overlap import digest_names, report_overlap

_SETTINGS = ('normal_dir', 'normal_test_dir', 'abnormal_dir', 'mask_dir')


@DATASETS.register_module()
class FolderDataset(AnomalyDataset):
    """Your own images, in folders with any names.

    Folders are searched recursively, except for hidden folders and for
    folders that another argument names. The defect type of an image is the
    path of its folder relative to ``abnormal_dir``. The log says which files
    were used, and which were skipped and why.

    Args:
        data_root (str): Folder that the other folders are relative to, unless
            they are absolute.
        split (str): ``'train'`` or ``'test'``.
        normal_dir (str | Sequence[str]): Folder or folders of normal images.
        normal_test_dir (str | Sequence[str], optional): Folder or folders of
            normal test images. Defaults to None: a share ``holdout`` of
            ``normal_dir`` is held out from training.
        abnormal_dir (str, optional): Folder of anomalous images. Images in a
            folder ``good`` directly in it are normal. Defaults to None.
        mask_dir (str, optional): Folder of masks, at the same relative paths
            as in ``abnormal_dir``, with or without ``_mask`` before the
            suffix. Defaults to None.
        holdout (float): Share of ``normal_dir`` that is used for testing if
            there is no ``normal_test_dir``, chosen at random. Defaults to
            0.2.
        seed (int): Seed of that choice. Defaults to 0.
        pipeline (Sequence[dict]): Configs of the transforms.
        indices (int | Sequence[int], optional): Use only this many images
            from the start, or only the images with these indices. Defaults to
            None: all images.
        lazy_init (bool): Scan the folders on first use. Defaults to False.
        metainfo, serialize_data, max_refetch: See
            :class:`~mmad.datasets.AnomalyDataset`.
        category (str, optional): Must be None, since there are no categories.

    Attributes:
        held_out (list[str]): Images of ``normal_dir`` that are kept for
            testing, once the folders have been scanned.

    Raises:
        InputError: If a folder is missing or empty, a mask is missing or
            might belong to several images, or an image is both a training
            image and a test image.
    """

    def __init__(self,
                 data_root: str,
                 split: str,
                 normal_dir: str | Sequence[str],
                 normal_test_dir: str | Sequence[str] | None = None,
                 abnormal_dir: str | None = None,
                 mask_dir: str | None = None,
                 holdout: float = 0.2,
                 seed: int = 0,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False,
                 category: str | None = None,
                 metainfo: Mapping | None = None,
                 serialize_data: bool = True,
                 max_refetch: int = 0) -> None:
        if category is not None:
            raise InputError(
                'FolderDataset has no categories, so it takes no `category`; '
                f'leave "{category}" out and name the folders instead.')
        check_number('holdout', holdout, above=0, below=1)
        self.normal_dir = normal_dir
        self.normal_test_dir = normal_test_dir
        self.abnormal_dir = abnormal_dir
        self.mask_dir = mask_dir
        if normal_dir is None:
            raise InputError('`normal_dir` must name the folder of the normal '
                             'images, got None.')
        for name in _SETTINGS:
            self._check_setting(name)
        if mask_dir is not None and abnormal_dir is None:
            raise InputError(
                f'`mask_dir` is "{mask_dir}", but there is no `abnormal_dir` '
                'with images for the masks; set it, or leave both out.')
        check_number('seed', seed, low=0, integer=True)
        self.holdout = holdout
        self.seed = seed
        self._held_out = pack_names([])
        super().__init__(
            data_root,
            split,
            pipeline=pipeline,
            indices=indices,
            lazy_init=lazy_init,
            metainfo=metainfo,
            serialize_data=serialize_data,
            max_refetch=max_refetch)

    @property
    def held_out(self) -> list[str]:
        return unpack_names(self._held_out)

    def load_data_list(self) -> list[dict]:
        if self.folder.is_file():
            self.require_folder()
        normal, skipped = self._list('normal_dir')
        if self.normal_test_dir is None:
            held = draw_subset(len(normal), self.holdout, self.seed)
            normal_test = [p for i, p in enumerate(normal) if i in held]
            self._held_out = pack_names(normal_test)
            normal = [p for i, p in enumerate(normal) if i not in held]
            if not normal:
                raise InputError(
                    f'`normal_dir` "{self._folders("normal_dir")[0]}" holds '
                    'only one image, and a share is held out for testing; add '
                    'images, at least 3, better 50 or more.')
            skipped_test = skipped
        else:
            normal_test, skipped_test = self._list('normal_test_dir')
        self._training = digest_names(normal)
        if self.split == 'train':
            entries = [self.entry(path, 'good') for path in normal]
            self.report(entries, skipped)
            return entries
        abnormal, skipped = self._load_abnormal()
        add_skipped(skipped, skipped_test)
        entries = [self.entry(path, 'good') for path in normal_test] + abnormal
        report_overlap(
            type(self).__name__, normal,
            [entry['img_path'] for entry in entries])
        self.report(entries, skipped)
        return entries

    def _load_abnormal(self) -> tuple[list[dict], Skipped]:
        if self.abnormal_dir is None:
            return [], {}
        images, = self._folders('abnormal_dir')
        names, skipped = self._list('abnormal_dir')
        defect_types = {
            folder: _defect_type(folder, images)
            for folder in {os.path.dirname(name)
                           for name in names}
        }
        masks: dict[str, str] = {}
        if self.mask_dir is not None:
            truth, = self._folders('mask_dir')
            if not find_names(truth, recursive=True)[0]:
                raise InputError(f'`mask_dir` "{truth}" holds no images; name '
                                 'the folder of the masks, or leave it out.')
            defective = [
                name for name in names
                if defect_types[os.path.dirname(name)] != 'good'
            ]
            masks, more = match_masks(defective, names, images, truth)
            add_skipped(skipped, more)
        return [
            self.entry(name, defect_types[os.path.dirname(name)],
                       masks.get(name)) for name in names
        ], skipped

    def _check_setting(self, name: str) -> None:
        value = getattr(self, name)
        if value is None or (isinstance(value, str | Path) and str(value)):
            return
        is_list = isinstance(value, Sequence) and value and all(
            isinstance(folder, str | Path) for folder in value)
        if name.startswith('normal') and is_list:
            return
        wanted = ('a folder or a list of folders'
                  if name.startswith('normal') else 'one folder')
        raise InputError(f'`{name}` must be {wanted}, got {value!r}.')

    def _folders(self, name: str) -> list[Path]:
        value = getattr(self, name)
        if value is None:
            return []
        values = [value] if isinstance(value, str | Path) else value
        return [self.folder / Path(folder).expanduser() for folder in values]

    def _list(self, name: str) -> tuple[list[str], Skipped]:
        """List the images and the skipped files of a setting."""
        # A folder inside the folder of another setting belongs only to its
        # own setting.
        others = [
            folder for other in _SETTINGS if other != name
            for folder in self._folders(other)
        ]
        images: list[str] = []
        skipped: Skipped = {}
        known: set[tuple[str, str]] = set()
        places: dict[str, str] = {}
        folders = self._folders(name)
        for folder in folders:
            found, more = find_names(folder, recursive=True, without=others)
            if not found:
                raise InputError(
                    f'`{name}` "{folder}" does not exist or holds no images; '
                    f'correct the path (--{name.replace("_", "-")}).')
            add_skipped(skipped, more)
            if len(folders) == 1:
                return found, skipped
            for path in found:
                # One folder of a list may be inside another one.
                parent, base = os.path.split(path)
                if parent not in places:
                    places[parent] = os.path.realpath(parent)
                place = places[parent], base
                if place not in known:
                    known.add(place)
                    images.append(path)
        return images, skipped


def _defect_type(folder: str, images: Path) -> str:
    """Return the defect type of the images in a folder."""
    *parts, _ = relative_name(os.path.join(folder, ''), images).split(os.sep)
    if parts:
        return 'good' if parts[0] == 'good' else '/'.join(parts)
    return 'bad' if images.name in ('', '..', 'good') else images.name
