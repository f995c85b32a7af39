from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.dist import broadcast_object_list, get_dist_info
from mmengine.logging import print_log

from mmad.errors import InputError
from mmad.evaluation.functional import (
    Ranking,
    ScoreHistogram,
    aupro,
    auroc,
    average_precision,
    best_f1,
    rank_sorted,
    thin,
)
from mmad.registry import METRICS
from mmad.utils import check_choice, check_flag, check_number

from .defect_census import DefectCensus
from .gathered_metric import GatheredMetric
from .image_pixels import ImagePixels, measure_pixels


class _Census:
    """Counts of the images and masks from which metrics are computed."""

    def __init__(self, resolution: str) -> None:
        self.images = 0
        self.cropped = 0
        self.regions = 0
        self.unmasked: set[str] = set()
        self.shapes: set[tuple[int, int]] = set()
        self.defects = DefectCensus('the model input' if resolution ==
                                    'input' else 'the original resolution')

    def add(self, image: ImagePixels) -> None:
        self.images += 1
        self.cropped += image.is_cropped
        self.regions += image.num_regions
        self.shapes.add(image.shape)
        if image.defect_type is not None and image.has_mask:
            self.defects.add(image.path, image.fault)
        elif image.defect_type is not None:
            self.unmasked.add(image.path)

    def merge(self, other: '_Census') -> None:
        self.images += other.images
        self.cropped += other.cropped
        self.regions += other.regions
        self.unmasked |= other.unmasked
        self.shapes |= other.shapes
        self.defects.merge(other.defects)

    def check(self) -> None:
        if not self.images:
            raise InputError('there are no images to evaluate; check that the '
                             'test set is not empty.')
        masked = self.defects.masked
        if masked and self.unmasked:
            raise InputError(
                f'the defective image {min(self.unmasked)} has no mask, while '
                f'{masked} others have one; add the missing masks '
                f'({len(self.unmasked)}) or remove the images.')


@METRICS.register_module()
class PixelMetric(GatheredMetric):
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

    _held: ImagePixels | None

    def __init__(self,
                 fpr_limit: float = 0.3,
                 resolution: str = 'input',
                 score_bits: int | None = None,
                 anomalous_only: bool = False,
                 collect_device: str = 'gpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        check_number('fpr_limit', fpr_limit, above=0, high=1)
        check_choice('resolution', resolution, ('input', 'original'))
        check_flag('anomalous_only', anomalous_only)
        self.fpr_limit = fpr_limit
        self.resolution = resolution
        self.score_bits = score_bits
        self.anomalous_only = anomalous_only
        self.ranking: Ranking | None = None
        if score_bits is not None:
            ScoreHistogram(score_bits)
        self._reset()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the pixels of each image.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Predicted samples.

        Raises:
            InputError: If a map has NaN or infinity, a mask is missing,
                broken or of another size, or a rotated image is to be
                compared at its original resolution.
        """
        for sample in data_samples:
            image = measure_pixels(sample, self.resolution,
                                   self.anomalous_only)
            if self.score_bits is None:
                self.results.append(image)
            else:
                self._bin_held(self.score_bits)
                self._held = image
                self._num_processed += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the metrics of all images of all processes.

        Args:
            size (int): Number of images of the test set. Further images, which
                the sampler repeats to fill the last round, are dropped.

        Returns:
            dict[str, float]: Metrics of all images, in every process.

        Raises:
            InputError: If there are no images, or only some of the defective
                images have a mask.
        """
        bits = self.score_bits
        if bits is None:
            return super().evaluate(size)
        # The sampler gives the images to the processes in turn and repeats
        # images only in the last round, so at most the last image is dropped.
        rank, world_size = get_dist_info()
        if rank + world_size * (self._num_processed - 1) < size:
            self._bin_held(bits)
        histograms: dict[str | None, ScoreHistogram] = {}
        census = _Census(self.resolution)
        for source in range(world_size):
            parts = [(self._histograms, self._census)]
            broadcast_object_list(parts, source)
            for defect_type, histogram in parts[0][0].items():
                histograms[defect_type] = histograms.get(
                    defect_type, ScoreHistogram(bits)) + histogram
            census.merge(parts[0][1])
        self._reset()

        def total(names: Sequence[str | None]) -> ScoreHistogram:
            return sum((histograms[name] for name in names),
                       ScoreHistogram(bits))

        values = self._report(census, list(histograms),
                              lambda names: total(names).to_ranking())
        whole = total(list(histograms))
        self.conditions['error_bounds'] = dict(
            pixel_auroc=whole.auroc_error_bound(),
            pixel_ap=whole.average_precision_error_bound(),
            pixel_f1max=whole.best_f1_error_bound(),
            aupro=whole.aupro_error_bound(self.fpr_limit))
        bounds = ', '.join(
            f'{name} {bound:.1e}'
            for name, bound in self.conditions['error_bounds'].items())
        print_log(
            f'Scores were kept to {bits} bits; the largest '
            f'possible errors are: {bounds}.',
            logger='current')
        return self._with_prefix(values)

    def compute_metrics(self, results: list[ImagePixels]) -> dict[str, float]:
        """Compute the exact metrics of all images, and those per defect type.

        Args:
            results (list): One item per image.

        Returns:
            dict[str, float]: Metrics of all images.

        Raises:
            InputError: If there are no images, or only some of the defective
                images have a mask.
        """
        census = _Census(self.resolution)
        groups: dict[str | None, list[ImagePixels]] = defaultdict(list)
        for image in results:
            census.add(image)
            groups[image.defect_type].append(image)
        negatives = {}
        for name, images in groups.items():
            negatives[name] = np.concatenate([i.negatives for i in images])
            negatives[name].sort()

        def rank_types(names: Sequence[str | None]) -> Ranking:
            images = [image for name in names for image in groups[name]]
            return rank_sorted([negatives[name] for name in names],
                               np.concatenate([i.positives for i in images]),
                               np.concatenate([i.weights for i in images]),
                               sum(i.num_regions for i in images))

        return self._report(census, list(groups), rank_types)

    def _report(
        self, census: _Census, names: Sequence[str | None],
        rank_types: Callable[[Sequence[str | None]],
                             Ranking]) -> dict[str, float]:
        census.check()
        shapes = sorted(census.shapes, key=lambda shape: shape[0] * shape[1])
        sizes = [f'{height}x{width}' for height, width in shapes]
        self.conditions = dict(
            resolution=self.resolution,
            fpr_limit=self.fpr_limit,
            score_bits=self.score_bits,
            anomalous_only=self.anomalous_only,
            map_size=sizes[0]
            if len(sizes) == 1 else f'{sizes[0]} to {sizes[-1]}',
            images_with_mask=census.defects.masked,
            regions=census.regions,
            cropped_images=census.cropped,
            **{
                f'pixel_{name}': number
                for name, number in census.defects.conditions.items()
            })
        self.warnings = census.defects.sentences()
        normal = [None] if None in names else []
        defects = sorted(name for name in names if name is not None)
        self.per_defect_type = {
            name: self._values(rank_types([*normal, name]))
            for name in defects
        }
        ranking = rank_types(names)
        self.ranking = thin(ranking, self.fpr_limit)
        self.best_threshold = best_f1(ranking)[1]
        return self._values(ranking)

    def _values(self, ranking: Ranking) -> dict[str, float]:
        return dict(
            pixel_auroc=auroc(ranking),
            pixel_ap=average_precision(ranking),
            pixel_f1max=best_f1(ranking)[0],
            aupro=aupro(ranking, self.fpr_limit))

    def _bin_held(self, bits: int) -> None:
        if self._held is None:
            return
        image = self._held
        self._held = None
        self._census.add(image)
        histogram = self._histograms.setdefault(image.defect_type,
                                                ScoreHistogram(bits))
        num_normal = image.negatives.size
        scores = np.concatenate([image.negatives, image.positives])
        histogram.update(scores,
                         np.arange(scores.size) >= num_normal,
                         np.append(np.zeros(num_normal), image.weights),
                         image.num_regions)

    def _reset(self) -> None:
        self._held = None
        self._num_processed = 0
        self._census = _Census(self.resolution)
        self._histograms: dict[str | None, ScoreHistogram] = {}
