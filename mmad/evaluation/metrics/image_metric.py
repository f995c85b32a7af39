import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmad.errors import InputError
from mmad.evaluation.functional import auroc, average_precision, best_f1, rank
from mmad.registry import METRICS
from mmad.structures.frame import scored_window
from mmad.utils import check_flag

from .defect_census import DefectCensus, mask_fault
from .gathered_metric import GatheredMetric
from .image_pixels import defect_type_of
from .region_census import ImageRegions, RegionCensus, regions_of


# Not a named tuple, since MMEngine converts gathered tuples to plain ones.
@dataclass(frozen=True, slots=True)
class _Image:
    score: float
    defect_type: str | None  # None for a normal image
    path: str
    has_mask: bool
    fault: str | None
    regions: ImageRegions | None
    label: bool | None  # the verdict, None without a threshold


@METRICS.register_module()
class ImageMetric(GatheredMetric):
    """Metrics of how well anomaly scores separate defective images.

    The metrics are ``image_auroc``, ``image_ap`` (average precision) and
    ``image_f1max`` (highest F1 over all thresholds). They are exact, also
    with ties. Without normal or without defective images, they are NaN.

    If the model has a threshold, its verdicts give ``image_precision``,
    ``image_recall`` and ``image_false_alarm_rate``, the share of normal
    images that are called defective.

    Each data sample needs ``pred_score`` (float tensor of one element),
    ``gt_label`` (int tensor of one element, 1 for defective), ``defect_type``
    and ``img_path``. If there is a ``gt_mask``, defective images with an
    empty mask are counted, and with ``mask_regions`` the regions that the
    model does not see. ``pred_label``, ``image_threshold`` and
    ``false_alarm_rate`` are there if the model has a threshold.

    Args:
        mean_over_types (bool): Also report ``image_auroc_mean``, the mean of
            the ``image_auroc`` of the defect types, each against all normal
            images, as is usual for MVTec LOCO AD. Defaults to False.
        collect_device (str): ``'gpu'`` gathers the results by the process
            group, also on CPUs. ``'cpu'`` gathers them in files, if
            ``collect_dir`` is given. Defaults to 'gpu'.
        prefix (str, optional): Prefix of the names of the metrics, which is
            followed by a slash. Defaults to None.
        collect_dir (str, optional): Folder for these files, which all nodes
            share. Defaults to None.

    Attributes:
        per_defect_type (dict[str, dict[str, float]]): After ``evaluate``, in
            the first process: the same metrics for the images of each defect
            type together with all normal images.
        conditions (dict): After ``evaluate``, in the first process: the
            numbers of images; ``image_threshold``, if there is one, and
            ``wanted_false_alarm_rate``, if it was chosen for one. With masks,
            ``empty_masks`` is the number of defective images whose mask file
            has no defective pixel, and ``defects_removed`` the number of
            those whose defective pixels the pipeline has removed. Where the
            pipeline has followed the regions of the masks, ``mask_regions``
            is their number, ``regions_outside`` that of those outside of the
            crop, ``regions_lost`` that of those of which no pixel is left,
            and ``regions_of_one_pixel`` of those reduced to a single one.
        warnings (list[str]): After ``evaluate``, in the first process:
            sentences that name the images of what cannot be seen.
    """

    _decision: dict[str, float | None] = {}

    def __init__(self,
                 mean_over_types: bool = False,
                 collect_device: str = 'gpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        check_flag('mean_over_types', mean_over_types)
        self.mean_over_types = mean_over_types

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the score and the label of each image.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Predicted samples.

        Raises:
            InputError: If a score is NaN or infinite.
        """
        for sample in data_samples:
            path = sample['img_path']
            score = sample['pred_score'].item()
            if not math.isfinite(score):
                name = 'NaN' if math.isnan(score) else 'infinite'
                raise InputError(f'the score of {path} is {name}; check the '
                                 'model and the image.')
            defect_type = defect_type_of(sample)
            mask = None if defect_type is None else _mask(sample)
            fault = None if mask is None else mask_fault(sample, mask)
            regions = None if mask is None else regions_of(sample)
            label = None
            if 'pred_label' in sample:
                label = bool(sample['pred_label'])
                self._decision = dict(
                    image_threshold=sample['image_threshold'],
                    wanted_false_alarm_rate=sample['false_alarm_rate'])
            self.results.append(
                _Image(score, defect_type, path, mask is not None, fault,
                       regions, label))

    def compute_metrics(self, results: list[_Image]) -> dict[str, float]:
        """Compute the metrics of all images, and those per defect type.

        Args:
            results (list): One item per image.

        Returns:
            dict[str, float]: Metrics of all images.

        Raises:
            InputError: If there are no images.
        """
        if not results:
            raise InputError('there are no images to evaluate; check that the '
                             'test set is not empty.')
        scores = np.array([image.score for image in results])
        types = np.array([image.defect_type for image in results],
                         dtype=object)
        defective = np.array(
            [image.defect_type is not None for image in results])
        labels = None
        if all(image.label is not None for image in results):
            labels = np.array([bool(image.label) for image in results])
        self.per_defect_type = {
            name: _values(scores, defective, labels,
                          ~defective | (types == name))
            for name in sorted(set(types[defective]))
        }
        self.best_threshold = best_f1(rank(scores, defective))[1]
        self.conditions = dict(
            images=len(results), defective_images=int(defective.sum()))
        if labels is not None:
            self.conditions.update({
                name: value
                for name, value in self._decision.items() if value is not None
            })
        census, region_census = DefectCensus(), RegionCensus()
        for image in results:
            if image.has_mask:
                census.add(image.path, image.fault)
            if image.regions is not None:
                region_census.add(image.path, image.regions)
        if census.masked:
            self.conditions.update(census.conditions,
                                   **region_census.conditions)
        self.warnings = census.sentences() + region_census.sentences()
        values = _values(scores, defective, labels, np.ones_like(defective))
        if self.mean_over_types:
            rows = self.per_defect_type.values()
            values['image_auroc_mean'] = _mean(
                np.array([row['image_auroc'] for row in rows]))
        return values


def _values(scores: np.ndarray, defective: np.ndarray,
            labels: np.ndarray | None, chosen: np.ndarray) -> dict[str, float]:
    ranking = rank(scores[chosen], defective[chosen])
    values = dict(
        image_auroc=auroc(ranking),
        image_ap=average_precision(ranking),
        image_f1max=best_f1(ranking)[0])
    if labels is None:
        return values
    truth, called = defective[chosen], labels[chosen]
    return dict(
        values,
        image_precision=_mean(truth[called & truth.any()]),
        image_recall=_mean(called[truth]),
        image_false_alarm_rate=_mean(called[~truth]))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float('nan')


def _mask(sample: dict) -> np.ndarray | None:
    """Return the part of the mask that is visible in the model input."""
    mask = sample.get('gt_mask')
    if mask is None:
        return None
    mask = mask.cpu().numpy().astype(bool, copy=False)
    # The pipeline has created this mask, since there is no mask file.
    if not mask.any() and sample.get('mask_path') is None:
        return None
    return mask[scored_window(sample, mask.shape)]
