import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import check_folder, check_number

from .files import find_names
from .indices import check_indices
from .scan_log import log_scan
from .shared_annotations import SharedAnnotations


@DATASETS.register_module()
class NaturalImages(SharedAnnotations):
    """Natural images of a folder, to train teachers of Uninformed Students.

    The folder is searched recursively. A teacher must not be trained on
    images of an anomaly detection data set, since results on that data set
    would be too good. Therefore a folder is refused if it

    - is inside one of ``forbidden_roots`` or contains one, or
    - looks like anomaly data: an image is below a folder with ``train/good``
      (or ``train/ok``) and ``test``, with ``ground_truth`` and ``test``, or
      with ``Images/Anomaly``.

    Links are resolved before this check.

    Args:
        data_root (str): Folder of the images.
        length (int): Number of samples per epoch, independent of the number
            of images. Defaults to 64000.
        forbidden_roots (Sequence[str]): Folders of anomaly data.
        pipeline (Sequence[dict]): Configs of the transforms.
        lazy_init (bool): Scan the folder on first use. Defaults to False.
        indices (int | Sequence[int], optional): Use only this many images
            from the start, or only the images with these indices. Defaults to
            None: all images.
        metainfo, serialize_data: See :class:`~mmad.datasets.AnomalyDataset`.
        max_refetch (int): How often an image for which the pipeline returns
            None is replaced by another one, drawn at random. Defaults to
            1000.

    Raises:
        InputError: If there are no images, or they are anomaly data.
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
        check_folder('data_root', data_root)
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
        images, skipped = find_names(self.folder, recursive=True)
        if not images:
            raise InputError(
                f'there are no images in "{self.folder}" or below it; name a '
                'folder with natural images with --data-root.')
        self.refuse_anomaly_data(images)
        entries = [dict(img_path=path) for path in images]
        log_scan(type(self).__name__, self.folder, entries, skipped)
        return entries

    def filter_data(self) -> list[dict]:
        check_indices(self._indices, len(self.data_list))
        return self.data_list

    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of a sample; the images repeat in a cycle.

        Args:
            idx (int): Index of the sample over all epochs.
        """
        number = super().__len__()
        info = super().get_data_info(idx % number)
        info['sample_idx'] = idx
        return info

    def refuse_anomaly_data(self, images: Iterable[str] = ()) -> None:
        """Check that the images are not anomaly data.

        Args:
            images (Iterable[str]): Image files of the folder.

        Raises:
            InputError: If they are.
        """
        home = Path(os.path.realpath(self.folder))
        places = {home}
        for parent in {os.path.dirname(path) for path in images}:
            places.add(Path(os.path.realpath(parent)))
        for path in images:
            if os.path.islink(path):
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
            f'("{folder}"), which a teacher must not be trained on; name a '
            'folder with natural images with --data-root.')


def _looks_like_anomaly_data(folder: Path) -> bool:
    is_split = (folder / 'test').is_dir() and any(
        (folder / name).is_dir()
        for name in ('train/good', 'train/ok', 'ground_truth'))
    # The second condition is for VisA.
    return is_split or (folder / 'Images' / 'Anomaly').is_dir()
