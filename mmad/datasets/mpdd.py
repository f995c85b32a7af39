from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class MPDD(AnomalyDataset):
    """One category of the Metal Parts Defect Detection data set.

    Jezek et al., "Deep Learning-Based Defect Detection of Metal Parts:
    Evaluating Current Methods in Complex Conditions", ICUMT 2021.

    It comes in the layout of MVTec AD. Arguments and errors are those of
    :class:`~mmad.datasets.AnomalyDataset`; ``category`` is one of
    :attr:`CATEGORIES`.
    """

    CATEGORIES = ('bracket_black', 'bracket_brown', 'bracket_white',
                  'connector', 'metal_plate', 'tubes')
