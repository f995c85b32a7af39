from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class BTAD(AnomalyDataset):
    """One product of the beanTech Anomaly Detection data set.

    Mishra et al., "VT-ADL: A Vision Transformer Network for Image Anomaly
    Detection and Localization", ISIE 2021.

    It is read in the layout of the download::

        DATA_ROOT/CATEGORY/train/ok/*.bmp
                           test/ok/*.bmp
                           test/ko/STEM.bmp
                           ground_truth/ko/STEM.png

    The only defect type is ``ko``. Arguments and errors are those of
    :class:`~mmad.datasets.AnomalyDataset`; ``category`` is one of
    :attr:`CATEGORIES`.
    """

    CATEGORIES = ('01', '02', '03')
    NORMAL = 'ok'
    LAYOUT = 'train/ok, test/ok and test/ko'
