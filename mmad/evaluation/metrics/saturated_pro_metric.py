import math
from collections.abc import Mapping

import numpy as np

from mmad.errors import InputError
from mmad.evaluation.functional import (
    Ranking,
    ScoreHistogram,
    aupro,
    saturated_weights,
    thin,
)
from mmad.registry import METRICS
from mmad.utils.image_file import MAX_PIXELS
from mmad.utils.region_files import read_regions

from .image_pixels import ImagePixels, measure_pixels
from .ranked_pixel_metric import RankedPixelMetric


@METRICS.register_module()
class SaturatedPROMetric(RankedPixelMetric):
    r"""Area under the saturated per-region overlap (sPRO) up to an FPR.

    It is the localization metric of MVTec LOCO AD. For :math:`N` defective
    regions :math:`A_i` with saturation areas :math:`s_i`, and the pixels
    :math:`P` that score above a threshold,

    .. math::

        \mathrm{sPRO}(P) = \frac{1}{N} \sum_i
        \min\left(\frac{|A_i \cap P|}{s_i}, 1\right).

    Regions may overlap. The false positive rate is over the pixels without
    any defect, of all images. Every distinct score is a threshold; otherwise
    the curve is integrated as by :func:`~mmad.evaluation.functional.aupro`.

    ``auspro`` is the area over all images, and ``auspro_mean`` the mean of
    the areas of the defect types, each together with all normal images, as
    published for logical and structural anomalies. Without masks or
    defect-free pixels, they are NaN.

    Source: Bergmann et al., "Beyond Dents and Scratches: Logical Constraints
    in Unsupervised Anomaly Detection and Localization", IJCV 2022.

    The data samples are those of :class:`~mmad.evaluation.PixelMetric`.
    Those of images with a mask also need ``region_saturations`` and, at the
    size of the input, ``gt_regions``; ``mask_path`` is a folder with a file
    for each region.

    Args:
        fpr_limit (float): False positive rate in (0, 1] up to which the curve
            is integrated. Defaults to 0.05.
        resolution (str): ``'original'`` compares at the size of the original
            images, to which the maps are resized with bilinear interpolation,
            with the saturation areas of the data set. ``'input'`` compares at
            the size of the model input. There, saturation areas in pixels are
            scaled like the area of the image, and not rounded. At either,
            they are at most the area of the region, and regions are clipped
            to the crop that the model saw. Defaults to 'original'.
        score_bits (int, optional): Number of bits of each float32 score that
            are kept, as in :class:`~mmad.evaluation.PixelMetric`. This bounds
            the memory, and ``conditions`` contains a bound for the error.
            Defaults to None: exact.
        collect_device (str): ``'gpu'`` gathers exact results by the process
            group, also on CPUs. ``'cpu'`` gathers them in files, if
            ``collect_dir`` is given. Defaults to 'gpu'.
        prefix (str, optional): Prefix of the names of the metrics, which is
            followed by a slash. Defaults to None.
        collect_dir (str, optional): Folder for these files, which all nodes
            share. Defaults to None.

    Attributes:
        per_defect_type (dict[str, dict[str, float]]): After ``evaluate``, in
            the first process: ``auspro`` of the images of each defect type
            together with all normal images.
        conditions (dict): After ``evaluate``, in the first process: how the
            metrics were computed, with names that begin with ``spro_``.
        warnings (list[str]): After ``evaluate``, in the first process:
            sentences that name images whose masks show no defect.
        ranking (Ranking, optional): After ``evaluate``, in the first process:
            the ranked pixels, thinned out for drawing curves, with the
            saturated overlap.

    Raises:
        InputError: If an argument is out of range.
    """

    PREFIX = MASKS_PREFIX = 'spro_'

    def __init__(self,
                 fpr_limit: float = 0.05,
                 resolution: str = 'original',
                 score_bits: int | None = None,
                 collect_device: str = 'gpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(fpr_limit, resolution, score_bits, collect_device,
                         prefix, collect_dir)
        self.ranking: Ranking | None = None

    def measure(self, sample: dict) -> ImagePixels:
        return measure_pixels(
            sample, self.resolution, anomalous_only=False, weigh=self._weigh)

    def values_of(self, ranking: Ranking) -> dict[str, float]:
        return dict(auspro=aupro(ranking, self.fpr_limit))

    def error_bounds_of(self, histogram: ScoreHistogram) -> dict[str, float]:
        return dict(auspro=histogram.aupro_error_bound(self.fpr_limit))

    def summarize(self, ranking: Ranking) -> dict[str, float]:
        self.ranking = thin(ranking, self.fpr_limit)
        rows = self.per_defect_type.values()
        return dict(
            self.values_of(ranking),
            auspro_mean=float(np.mean([row['auspro'] for row in rows]))
            if rows else float('nan'))

    def _weigh(self, sample: Mapping, scores: np.ndarray, mask: np.ndarray,
               window: tuple[slice, slice]) -> tuple[np.ndarray, int]:
        if not mask.any():
            return np.zeros(0), 0
        if 'region_saturations' not in sample:
            raise InputError(
                f'the mask of {sample["img_path"]} has no saturation areas, '
                'which SaturatedPROMetric needs; use LoadMask with a data set '
                'that has them, such as MVTecLOCO, or PixelMetric in its '
                'place.')
        regions, scale = self._regions(sample)
        regions = regions[(slice(None), *window)]
        areas = np.count_nonzero(regions, axis=(1, 2))
        seen = areas > 0
        saturation_areas = [
            saturation.area(int(area), scale) for saturation, area in zip(
                sample['region_saturations'], areas, strict=True) if area
        ]
        weights = saturated_weights(scores[mask], regions[seen][:, mask],
                                    saturation_areas)
        return weights, len(saturation_areas)

    def _regions(self, sample: Mapping) -> tuple[np.ndarray, float]:
        """Return the regions ``(R, H, W)``, and the scale of their areas."""
        original = math.prod(sample['ori_shape'])
        if self.resolution == 'original':
            limit = max(MAX_PIXELS, original)
            return read_regions(sample['mask_path'], limit)[0], 1.0
        reason = sample.get('frame_lost')
        if reason or 'resized_shape' not in sample:
            raise InputError(
                f'the scale of "{sample["img_path"]}" is not known'
                f'{f": {reason}" if reason else ""}; crop with CenterCrop and '
                'pad with Letterbox of mmad, after one Resize, and end the '
                'pipeline with PackInputs.')
        scale = math.prod(sample['resized_shape']) / original
        return sample['gt_regions'].cpu().numpy(), scale
