from collections.abc import Sequence

from mmad.errors import InputError
from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class MVTecAD(AnomalyDataset):
    """One category of the MVTec AD data set.

    Bergmann et al., "MVTec AD: A Comprehensive Real-World Dataset for
    Unsupervised Anomaly Detection", CVPR 2019. CC BY-NC-SA 4.0.

    Args:
        data_root (str): Folder that holds the categories.
        category (str): One of :attr:`CATEGORIES`.
        split (str): ``'train'`` or ``'test'``.
        pipeline (Sequence[dict]): Transforms.
        indices (int | Sequence[int], optional): Use only the first so many
            images, or these. Defaults to None.
        lazy_init (bool): Scan the folders on first use. Defaults to False.

    Raises:
        InputError: The category is unknown, or as in the base class.
    """

    TEXTURES = ('carpet', 'grid', 'leather', 'tile', 'wood')
    OBJECTS = ('bottle', 'cable', 'capsule', 'hazelnut', 'metal_nut', 'pill',
               'screw', 'toothbrush', 'transistor', 'zipper')
    CATEGORIES = tuple(sorted(TEXTURES + OBJECTS))

    def __init__(self,
                 data_root: str,
                 category: str,
                 split: str,
                 pipeline: Sequence = (),
                 indices: int | Sequence[int] | None = None,
                 lazy_init: bool = False) -> None:
        if category not in self.CATEGORIES:
            raise InputError(
                f'MVTec AD has no category "{category}"; it has '
                f'{", ".join(self.CATEGORIES)}.')
        super().__init__(data_root, split, category, pipeline, indices,
                         lazy_init)
