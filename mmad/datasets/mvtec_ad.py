from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class MVTecAD(AnomalyDataset):
    """One category of the MVTec AD data set.

    Bergmann et al., "MVTec AD: A Comprehensive Real-World Dataset for
    Unsupervised Anomaly Detection", CVPR 2019. CC BY-NC-SA 4.0.

    Arguments and errors are those of
    :class:`~mmad.datasets.AnomalyDataset`; ``category`` is one of
    :attr:`CATEGORIES`.
    """

    TEXTURES = ('carpet', 'grid', 'leather', 'tile', 'wood')
    OBJECTS = ('bottle', 'cable', 'capsule', 'hazelnut', 'metal_nut', 'pill',
               'screw', 'toothbrush', 'transistor', 'zipper')
    CATEGORIES = tuple(sorted(TEXTURES + OBJECTS))
