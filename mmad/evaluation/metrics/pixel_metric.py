from mmad.evaluation.functional import (
    Ranking,
    ScoreHistogram,
    aupro,
    auroc,
    average_precision,
    best_f1,
    thin,
)
from mmad.registry import METRICS
from mmad.utils import check_flag

from .image_pixels import ImagePixels, measure_pixels
from .ranked_pixel_metric import RankedPixelMetric


@METRICS.register_module()
class PixelMetric(RankedPixelMetric):
    """Metrics of how well anomaly maps separate defective pixels.

    The metrics are ``pixel_auroc``, ``pixel_ap`` (average precision),
    ``pixel_f1max`` (highest F1 over all thresholds) and ``aupro`` (area under
    the per-region overlap curve). They are computed over the pixels of all
    test images, or of the defective images only. Without masks, defective
    pixels or defect-free pixels, they are NaN.

    Each data sample needs ``pred_map`` (tensor of shape (H, W), the size of
    the model input), ``gt_label`` (int tensor of one element, 1 for
    defective), ``gt_mask`` (bool tensor of shape (H, W); for a normal image
    it may be absent), ``defect_type``, ``img_path`` and ``mask_path``. At the
    original resolution, ``gt_mask`` is not used, and ``ori_shape`` is needed.
    If the model saw a crop, ``resized_shape`` (height and width before the
    crop) and ``crop_offset`` (its top and left) are needed too. Pixels that a
    letterbox added are not used at either resolution. If ``mask_area`` is
    known, the number of defective pixels of the mask file, the file need not
    be read to distinguish an empty mask from a defect that the pipeline
    removed.

    Args:
        fpr_limit (float): False positive rate in (0, 1] up to which ``aupro``
            is integrated. Defaults to 0.3.
        resolution (str): ``'input'`` compares at the size of the model input,
            as in the papers of PaDiM and PatchCore. ``'original'``
            resizes each map to the original image with bilinear interpolation
            and compares it with the mask file, as in the evaluation of MVTec
            AD. Then pixels outside the crop that the model saw are not used,
            regions are clipped to the crop, and images that the pipeline
            rotated are refused. Defaults to 'input'.
        score_bits (int, optional): Number of bits of each float32 score that
            are kept, in one
            :class:`~mmad.evaluation.functional.ScoreHistogram` per defect
            type. This bounds the memory, and ``conditions`` contains bounds
            for the errors. Defaults to None: exact metrics, for which all
            scores are kept, 4 bytes per pixel of the test set.
        anomalous_only (bool): Do not use the pixels of normal images, as in
            the authors' code of MKD for ``pixel_auroc``. Such values are not
            comparable with those over all images. Defaults to False.
        collect_device (str): ``'gpu'`` gathers exact results by the process
            group, also on CPUs. ``'cpu'`` gathers them in files, if
            ``collect_dir`` is given. Defaults to 'gpu'.
        prefix (str, optional): Prefix of the names of the metrics, which is
            followed by a slash. Defaults to None.
        collect_dir (str, optional): Folder for these files, which all nodes
            share. Defaults to None.

    Attributes:
        per_defect_type (dict[str, dict[str, float]]): After ``evaluate``, in
            the first process: the same metrics for the images of each defect
            type together with all normal images, if these are used.
        conditions (dict): After ``evaluate``, in the first process: how the
            metrics were computed. ``pixel_empty_masks`` is the number of
            defective images whose mask file has no defective pixel, and
            ``pixel_defects_removed`` the number of those without a defective
            pixel at the resolution of the metric.
        warnings (list[str]): After ``evaluate``, in the first process:
            sentences that name such images.
        ranking (Ranking, optional): After ``evaluate``, in the first process:
            the ranked pixels, thinned out for drawing curves.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(self,
                 fpr_limit: float = 0.3,
                 resolution: str = 'input',
                 score_bits: int | None = None,
                 anomalous_only: bool = False,
                 collect_device: str = 'gpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(fpr_limit, resolution, score_bits, collect_device,
                         prefix, collect_dir)
        check_flag('anomalous_only', anomalous_only)
        self.anomalous_only = anomalous_only
        self.ranking: Ranking | None = None

    def measure(self, sample: dict) -> ImagePixels:
        return measure_pixels(sample, self.resolution, self.anomalous_only)

    def values_of(self, ranking: Ranking) -> dict[str, float]:
        return self._values_of(ranking, best_f1(ranking)[0])

    def _values_of(self, ranking: Ranking, f1: float) -> dict[str, float]:
        return dict(
            pixel_auroc=auroc(ranking),
            pixel_ap=average_precision(ranking),
            pixel_f1max=f1,
            aupro=aupro(ranking, self.fpr_limit))

    def error_bounds_of(self, histogram: ScoreHistogram) -> dict[str, float]:
        return dict(
            pixel_auroc=histogram.auroc_error_bound(),
            pixel_ap=histogram.average_precision_error_bound(),
            pixel_f1max=histogram.best_f1_error_bound(),
            aupro=histogram.aupro_error_bound(self.fpr_limit))

    def further_conditions(self) -> dict[str, bool]:
        return dict(anomalous_only=self.anomalous_only)

    def summarize(self, ranking: Ranking) -> dict[str, float]:
        self.ranking = thin(ranking, self.fpr_limit)
        f1, self.best_threshold = best_f1(ranking)
        return self._values_of(ranking, f1)
