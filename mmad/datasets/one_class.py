from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmad.errors import InputError
from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset
from .classification_sets import NAMES, load_classification_set


@DATASETS.register_module()
class OneClassDataset(AnomalyDataset):
    """A classification data set of which one class is normal.

    The other nine classes are anomalous.

    The protocol of Ruff et al., "Deep One-Class Classification", ICML 2018:
    the training images of the normal class to train on, the whole test part
    to test on, ten such runs and their mean. There are no masks, so only
    image-level metrics are defined.

    The images come with the annotation, under the keys ``img``,
    ``img_shape`` and ``ori_shape``, as from
    :class:`~mmad.datasets.transforms.LoadImage`, which has no place in the
    pipeline then. ``defect_type`` is the name of the class, or ``'good'``;
    ``img_path`` names no file.

    Args:
        name (str): ``'MNIST'``, ``'FashionMNIST'`` or ``'CIFAR10'`` of
            torchvision, or ``'digits'``, which comes with scikit-learn; its
            first 1000 images of 1797 are the training part.
        data_root (str): Folder as torchvision fills it; without effect for
            ``'digits'``.
        category (str): Index of the normal class, ``'0'`` to ``'9'``.
        split (str): ``'train'`` or ``'test'``.
        download (bool): Let torchvision fetch what is missing. Defaults to
            False.
        pipeline (Sequence[dict]): Transforms.
        indices (int | Sequence[int], optional): Use only the first so many
            images, or these. Defaults to None.
        lazy_init (bool): Read the images on first use. Defaults to False.
        metainfo, serialize_data, max_refetch: See
            :class:`~mmad.datasets.AnomalyDataset`.

    Raises:
        InputError: The name or the category is unknown, or files are missing
            or broken.
    """

    CATEGORIES = tuple('0123456789')

    def __init__(self,
                 name: str,
                 data_root: str,
                 category: str | int,
                 split: str,
                 download: bool = False,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False,
                 metainfo: Mapping | None = None,
                 serialize_data: bool = True,
                 max_refetch: int = 0) -> None:
        if name not in NAMES:
            raise InputError(
                f'OneClassDataset has no data set "{name}"; it has '
                f'{", ".join(NAMES)}.')
        self.name = name
        self.download = download
        # --cfg-options makes a number of it.
        super().__init__(data_root, split, str(category), pipeline, indices,
                         lazy_init, metainfo, serialize_data, max_refetch)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root).expanduser()
        images, labels, classes = load_classification_set(
            self.name, root, self.split == 'train', self.download)
        normal: Any = labels == int(self.category)  # type: ignore[arg-type]
        if self.split == 'train':
            images, labels = images[normal], labels[normal]
            normal = normal[normal]
        # Beside the list, which MMEngine pickles image by image.
        self._images = images
        folder = root / self.name / self.split
        return [
            dict(
                self.entry(folder / f'{number:05d}',
                           'good' if is_normal else classes[label]),
                number=number)
            for number, (label, is_normal) in enumerate(zip(labels, normal))
        ]

    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of one image, with its pixels."""
        info = super().get_data_info(idx)
        image = self._images[info.pop('number')]
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        info['img'] = np.ascontiguousarray(image[..., ::-1])
        info['img_shape'] = info['ori_shape'] = image.shape[:2]
        return info
