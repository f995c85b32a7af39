from mmad.registry import DATASETS

from .anomaly_dataset import AnomalyDataset


@DATASETS.register_module()
class MVTecAD2(AnomalyDataset):
    """One category of the MVTec AD 2 data set, with its public test images.

    Heckler-Kram et al., "The MVTec AD 2 Dataset: Advanced Scenarios for
    Unsupervised Anomaly Detection", arXiv 2503.21622, 2025. CC BY-NC-SA 4.0.

    It is read in the layout of the download::

        DATA_ROOT/CATEGORY/train/good/*.png
                           validation/good/*.png
                           test_public/good/*.png
                           test_public/bad/STEM.png
                           test_public/ground_truth/bad/STEM_mask.png

    The only defect type is ``bad``. The split ``'validation'`` has the
    further normal images. The images in ``test_private`` and
    ``test_private_mixed`` have no labels and are in no split:
    ``tools/predict.py`` scores such a folder.

    Arguments and errors are those of
    :class:`~mmad.datasets.AnomalyDataset`; ``category`` is one of
    :attr:`CATEGORIES`.
    """

    CATEGORIES = ('can', 'fabric', 'fruit_jelly', 'rice', 'sheet_metal',
                  'vial', 'wallplugs', 'walnuts')
    SPLITS = ('train', 'validation', 'test')
    TEST = 'test_public'
    TRUTH = 'test_public/ground_truth'
    LAYOUT = ('train/good, validation/good, test_public/good, '
              'test_public/bad and test_public/ground_truth')
