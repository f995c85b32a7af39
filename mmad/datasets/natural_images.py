import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import check_number

from .files import find_images
from .indices import check_indices
from .scan_log import log_scan


@DATASETS.register_module()
class NaturalImages(BaseDataset):
    """Natural images of a folder, to train teachers of Uninformed Students.

    The folder is searched with all folders below it. Results on images that a
    teacher has seen would not be honest, so a folder is refused that

    - lies in one of ``forbidden_roots`` or holds one, or
    - looks like such data: there are ``train/good`` (or ``train/ok``) and
      ``test``, or ``ground_truth`` and ``test``, or ``Images/Anomaly``,
      around an image.

    Links are followed before this is checked.

    Args:
        data_root (str): Folder of the images.
        length (int): Number of draws in an epoch, whatever the number of
            images. Defaults to 64000.
        forbidden_roots (Sequence[str]): Folders of anomaly data.
        pipeline (Sequence[dict]): Transforms.
        lazy_init (bool): Scan the folder on first use. Defaults to False.
        indices (int | Sequence[int], optional): Use only the first so many
            images, or these. Defaults to None.
        metainfo, serialize_data: See :class:`~mmad.datasets.AnomalyDataset`.
        max_refetch (int): How often another image, drawn at random, takes the
            place of one for which the pipeline returns None. Defaults to
            1000.

    Raises:
        InputError: There are no images, or they are anomaly data.
    """

    def __init__(self,
                 data_root: str,
                 length: int = 64000,
                 forbidden_roots: Sequence[str] = (),
                 pipeline: Sequence = (),
                 lazy_init: bool = False,
                 indices: int | Sequence[int] | None = None,
                 metainfo: Mapping | None = None,
                 serialize_data: bool = True,
                 max_refetch: int = 1000) -> None:
        check_number('length', length, low=1, integer=True)
        check_number('max_refetch', max_refetch, low=0, integer=True)
        check_indices(indices)
        if not isinstance(data_root, str | Path):
            raise InputError('`data_root` must be the path of a folder, got '
                             f'{data_root!r}.')
        self.length = length
        self.forbidden_roots = tuple(forbidden_roots)
        super().__init__(
            metainfo=metainfo,
            data_root=str(data_root),
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            lazy_init=lazy_init,
            max_refetch=max_refetch)

    @property
    def folder(self) -> Path:
        """Folder of the images."""
        return Path(self.data_root).expanduser()

    def __len__(self) -> int:
        return self.length

    def load_data_list(self) -> list[dict]:
        if not self.folder.is_dir():
            problem = ('is a file'
                       if self.folder.is_file() else 'does not exist')
            raise InputError(
                f'the folder "{self.folder}" {problem}; name one with '
                'natural images (photographs of anything) with '
                '--data-root.')
        images, skipped = find_images(self.folder, recursive=True)
        if not images:
            raise InputError(
                f'there are no images in "{self.folder}" or below it; name a '
                'folder with natural images with --data-root.')
        self.refuse_anomaly_data(images)
        entries = [dict(img_path=str(path)) for path in images]
        log_scan(type(self).__name__, self.folder, entries, skipped)
        return entries

    def filter_data(self) -> list[dict]:
        check_indices(self._indices, len(self.data_list))
        return self.data_list

    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of a draw. The draws go round all images.

        Args:
            idx (int): Number of the draw over all epochs.
        """
        number = super().__len__()
        info = super().get_data_info(idx % number)
        info['sample_idx'] = idx
        return info

    def refuse_anomaly_data(self, images: Iterable[Path] = ()) -> None:
        """Raise :class:`InputError` if the images are anomaly data."""
        home = Path(os.path.realpath(self.folder))
        places = {home}
        for parent in {path.parent for path in images}:
            places.add(Path(os.path.realpath(parent)))
        for path in images:
            if path.is_symlink():
                places.add(Path(os.path.realpath(path)).parent)
        forbidden = {
            Path(os.path.realpath(os.path.expanduser(root)))
            for root in self.forbidden_roots
        }
        seen: set[Path] = set()
        for place in places:
            for folder in (place, *place.parents):
                if folder in seen:
                    break
                seen.add(folder)
                if folder in forbidden or _looks_like_anomaly_data(folder):
                    self._refuse(folder)
        for root in forbidden:
            if home in root.parents and root.is_dir():
                self._refuse(root)

    def _refuse(self, folder: Path) -> None:
        raise InputError(
            f'the images of "{self.folder}" belong to anomaly data '
            f'("{folder}"); a teacher must never see these: name a folder '
            'with other, natural images with --data-root.')


def _looks_like_anomaly_data(folder: Path) -> bool:
    parted = (folder / 'test').is_dir() and any(
        (folder / name).is_dir()
        for name in ('train/good', 'train/ok', 'ground_truth'))
    # The second is VisA.
    return parted or (folder / 'Images' / 'Anomaly').is_dir()
