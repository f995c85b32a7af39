from functools import cached_property
from pathlib import Path

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.structures import Saturation
from mmad.utils.region_files import list_regions

from .anomaly_dataset import AnomalyDataset
from .defects_config import read_defects_config
from .files import Skipped, find_names, relative_stem


@DATASETS.register_module()
class MVTecLOCO(AnomalyDataset):
    """One category of the MVTec LOCO AD data set.

    Bergmann et al., "Beyond Dents and Scratches: Logical Constraints in
    Unsupervised Anomaly Detection and Localization", IJCV 2022.
    CC BY-NC-SA 4.0.

    It is read in the layout of the download::

        DATA_ROOT/CATEGORY/train/good/*.png
                           validation/good/*.png
                           test/good/*.png
                           test/logical_anomalies/STEM.png
                           test/structural_anomalies/STEM.png
                           ground_truth/logical_anomalies/STEM/*.png
                           ground_truth/structural_anomalies/STEM/*.png
                           defects_config.json

    The mask of an image is a folder with a file for each defective region,
    and regions may overlap. ``defects_config.json`` says how much of a region
    has to be found, for
    :class:`~mmad.evaluation.metrics.SaturatedPROMetric`. Without
    ``ground_truth`` there are no pixel-level labels. The split
    ``'validation'`` has the further normal images.

    Arguments are those of :class:`~mmad.datasets.AnomalyDataset`;
    ``category`` is one of :attr:`CATEGORIES`.

    Raises:
        InputError: As in :class:`~mmad.datasets.AnomalyDataset`; if a
            defective image has no region, or ``defects_config.json`` is
            missing or invalid.
    """

    CATEGORIES = ('breakfast_box', 'juice_bottle', 'pushpins', 'screw_bag',
                  'splicing_connectors')
    SPLITS = ('train', 'validation', 'test')
    LAYOUT = ('train/good, validation/good, test/good, '
              'test/logical_anomalies and test/structural_anomalies')

    def find_masks(self, defective: list[str], images: list[str],
                   truth: Path) -> tuple[dict[str, str], Skipped]:
        test = self.folder / self.TEST
        masks = {
            image: str(truth / relative_stem(image, test))
            for image in defective
        }
        owner: dict[str, str] = {}
        for image, folder in masks.items():
            if owner.setdefault(folder, image) != image:
                raise InputError(
                    f'mask "{folder}" might belong to "{owner[folder]}" or '
                    f'to "{image}"; give each image its own name.')
            try:
                list_regions(folder)
            except InputError as error:
                raise InputError(
                    f'image "{image}" has no mask: {error}') from error
        unused, skipped = find_names(
            truth, recursive=True, without=masks.values())
        return masks, {**skipped, 'masks without an image': unused}

    def entry(self,
              path: str | Path,
              defect_type: str,
              mask: str | Path | None = None) -> dict:
        entry = super().entry(path, defect_type, mask)
        if mask is not None:
            entry['saturations'] = self._saturations
        return entry

    @cached_property
    def _saturations(self) -> dict[int, Saturation]:
        return read_defects_config(self.folder / 'defects_config.json')
