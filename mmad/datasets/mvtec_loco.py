from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class MVTecLOCO(AnomalyDataset):
    """One category of the MVTec LOCO AD data set, at the image level.

    Bergmann et al., "Beyond Dents and Scratches: Logical Constraints in
    Unsupervised Anomaly Detection and Localization", IJCV 2022.
    CC BY-NC-SA 4.0.

    It is read in the layout of the download::

        DATA_ROOT/CATEGORY/train/good/*.png
                           test/good/*.png
                           test/logical_anomalies/*.png
                           test/structural_anomalies/*.png

    The masks are not read: the localization metric of this data set, the
    saturated per-region overlap, is not implemented, and the usual pixel
    metrics are not comparable with it. ``validation/good`` is not read
    either.

    Arguments and errors are those of
    :class:`~mmad.datasets.AnomalyDataset`; ``category`` is one of
    :attr:`CATEGORIES`.
    """

    CATEGORIES = ('breakfast_box', 'juice_bottle', 'pushpins', 'screw_bag',
                  'splicing_connectors')
    TRUTH = None
    LAYOUT = ('train/good, test/good, test/logical_anomalies and '
              'test/structural_anomalies')
