import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmad.errors import InputError
from mmad.evaluation.functional import auroc, average_precision, best_f1, rank
from mmad.registry import METRICS


# Not a named tuple: MMEngine turns tuples that it gathers into plain ones.
@dataclass(frozen=True)
class _Image:
    score: float
    kind: str | None  # None for a normal image


@METRICS.register_module()
class ImageMetric(BaseMetric):
    """How well image scores separate defective images from normal ones.

    Reports ``image_auroc``, ``image_ap`` (average precision) and
    ``image_f1max`` (highest F1 over all thresholds), exact with ties. A value
    that is undefined, for want of normal or of defective images, is NaN.

    Each data sample needs ``pred_score`` (float tensor of one element),
    ``gt_label`` (int tensor of one element, 1 for defective), ``kind`` (name
    of the kind of defect) and ``img_path``.

    Args:
        collect_device (str): ``'cpu'`` or ``'gpu'``: how processes exchange
            their results. Defaults to 'cpu'.
        prefix (str, optional): Prefix of the names, followed by a slash.
            Defaults to none.
        collect_dir (str, optional): Folder that all processes share, for
            ``collect_device='cpu'``.

    Attributes:
        per_kind (dict[str, dict[str, float]]): After ``evaluate``, in the
            first process: the same metrics for the images of each kind of
            defect together with all normal images.
        conditions (dict): After ``evaluate``, in the first process: the
            numbers of images that the metrics rest on.
    """

    default_prefix = ''

    def __init__(self,
                 collect_device: str = 'cpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        self.per_kind: dict[str, dict[str, float]] = {}
        self.conditions: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the score and the label of each image.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Predicted samples.

        Raises:
            InputError: If a score is NaN.
        """
        for sample in data_samples:
            score = sample['pred_score'].item()
            if math.isnan(score):
                raise InputError(
                    f'The score of {sample["img_path"]} is NaN; check the '
                    'model and the image.')
            kind = sample['kind'] if sample['gt_label'].item() else None
            self.results.append(_Image(score, kind))

    def compute_metrics(self, results: list[_Image]) -> dict[str, float]:
        """Compute the metrics of all images, and those per kind.

        Args:
            results (list): One item per image.

        Returns:
            dict[str, float]: Metrics of all images.

        Raises:
            InputError: If there are no images.
        """
        if not results:
            raise InputError('There are no images to evaluate; check that the '
                             'test set is not empty.')
        scores = np.array([image.score for image in results])
        kinds = np.array([image.kind for image in results], dtype=object)
        defective = np.array([image.kind is not None for image in results])
        self.per_kind = {
            kind: self._values(scores, defective, ~defective | (kinds == kind))
            for kind in sorted(set(kinds[defective]))
        }
        self.conditions = dict(
            images=len(results), defective_images=int(defective.sum()))
        return self._values(scores, defective, np.ones_like(defective))

    @staticmethod
    def _values(scores: np.ndarray, defective: np.ndarray,
                chosen: np.ndarray) -> dict[str, float]:
        ranking = rank(scores[chosen], defective[chosen])
        return dict(
            image_auroc=auroc(ranking),
            image_ap=average_precision(ranking),
            image_f1max=best_f1(ranking)[0])
