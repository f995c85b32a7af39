from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class MagneticTile(AnomalyDataset):
    """The magnetic tile defect data set.

    Huang et al., "Surface defect saliency of magnetic tile", The Visual
    Computer 36, 2020.

    The download has neither a split nor this layout. Create both with
    ``tools/dataset_converters/magnetic_tile.py``. There are no categories;
    the defect types are ``blowhole``, ``break``, ``crack``, ``fray`` and
    ``uneven``. Images differ in size and shape, and many defects touch the
    border, so images should not be cropped. Arguments and errors are those of
    :class:`~mmad.datasets.AnomalyDataset`, without ``category``.
    """

    LAYOUT = ('train/good and test/DEFECT_TYPE, as '
              'tools/dataset_converters/magnetic_tile.py makes them,')
