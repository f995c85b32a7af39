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
    """A classification data set in which one class is normal.

    The other nine classes are anomalous. This is the protocol of Ruff et al.,
    "Deep One-Class Classification", ICML 2018: a model is trained on the
    training images of the normal class and tested on the whole test part, and
    results are averaged over ten runs, one for each class. There are no
    masks, so only image-level metrics are defined.

    The annotation contains the pixels, under the keys ``img``, ``img_shape``
    and ``ori_shape``, so the pipeline must not contain
    :class:`~mmad.datasets.transforms.LoadImage`. ``defect_type`` is the name
    of the class, or ``'good'``. ``img_path`` is not the path of a file.

    Args:
        name (str): ``'MNIST'``, ``'FashionMNIST'`` or ``'CIFAR10'`` of
            torchvision, or ``'digits'`` of scikit-learn, of whose 1797 images
            the first 1000 are the training part.
        data_root (str): Root folder of the data sets of torchvision; it has
            no effect for ``'digits'``.
        category (str): Index of the normal class, ``'0'`` to ``'9'``.
        split (str): ``'train'`` or ``'test'``.
        download (bool): Let torchvision download missing files. Defaults to
            False.
        pipeline (Sequence[dict]): Configs of the transforms.
        indices (int | Sequence[int], optional): Use only this many images
            from the start, or only the images with these indices. Defaults to
            None: all images.
        lazy_init (bool): Read the images on first use. Defaults to False.
        metainfo, serialize_data, max_refetch: See
            :class:`~mmad.datasets.AnomalyDataset`.

    Raises:
        InputError: If the name or the category is unknown, or files are
            missing or broken.
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
        # --cfg-options converts the category to a number.
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
        # Not in the list, since MMEngine pickles each of its entries.
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
