from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.dist import broadcast_object_list, get_dist_info
from mmengine.logging import print_log

from mmad.evaluation.functional import Ranking, ScoreHistogram, rank_sorted
from mmad.utils import check_choice, check_number

from .gathered_metric import GatheredMetric
from .image_pixels import ImagePixels
from .pixel_census import PixelCensus


class _Group(NamedTuple):
    """The pixels of several images, with the negatives sorted."""

    negatives: np.ndarray
    positives: np.ndarray
    weights: np.ndarray
    num_regions: int


def _join(images: list[ImagePixels]) -> _Group:
    """Join the pixels of images, which are removed from the list."""
    negatives = np.concatenate([image.negatives for image in images])
    negatives.sort()
    group = _Group(negatives, np.concatenate([i.positives for i in images]),
                   np.concatenate([i.weights for i in images]),
                   sum(image.num_regions for image in images))
    images.clear()
    return group


class RankedPixelMetric(GatheredMetric):
    """Base class of metrics that follow from the ranked pixels of all images.

    A subclass says which pixels of an image are compared, and what follows
    from their ranking.

    Args:
        fpr_limit (float): False positive rate in (0, 1] up to which a curve
            is integrated.
        resolution (str): ``'input'`` or ``'original'``.
        score_bits (int, optional): Number of bits of each float32 score that
            are kept. None keeps all scores.
        collect_device (str): See
            :class:`~mmad.evaluation.metrics.gathered_metric.GatheredMetric`.
        prefix (str, optional): See there.
        collect_dir (str, optional): See there.

    Attributes:
        PREFIX (str): Start of the names of the conditions.
        MASKS_PREFIX (str): Start of those that count masks without a defect.

    Raises:
        InputError: If an argument is out of range.
    """

    PREFIX = ''
    MASKS_PREFIX = 'pixel_'
    _held: ImagePixels | None

    def __init__(self, fpr_limit: float, resolution: str,
                 score_bits: int | None, collect_device: str,
                 prefix: str | None, collect_dir: str | None) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        check_number('fpr_limit', fpr_limit, above=0, high=1)
        check_choice('resolution', resolution, ('input', 'original'))
        self.fpr_limit = fpr_limit
        self.resolution = resolution
        self.score_bits = score_bits
        if score_bits is not None:
            ScoreHistogram(score_bits)
        self._reset()

    @abstractmethod
    def measure(self, sample: dict) -> ImagePixels:
        """Find the pixels of a predicted sample that are compared."""

    @abstractmethod
    def values_of(self, ranking: Ranking) -> dict[str, float]:
        """Compute the metrics of ranked pixels."""

    @abstractmethod
    def error_bounds_of(self, histogram: ScoreHistogram) -> dict[str, float]:
        """Compute bounds for the errors of the metrics of binned scores."""

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
            image = self.measure(sample)
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
        census = PixelCensus(self.resolution)
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
        errors = self.error_bounds_of(total(list(histograms)))
        self.conditions[f'{self.PREFIX}error_bounds'] = errors
        bounds = ', '.join(f'{name} {bound:.1e}'
                           for name, bound in errors.items())
        print_log(
            f'Scores were kept to {bits} bits; the largest '
            f'possible errors are: {bounds}.',
            logger='current')
        return self._with_prefix(values)

    def compute_metrics(self, results: list[ImagePixels]) -> dict[str, float]:
        """Compute the exact metrics of all images, and those per defect type.

        Args:
            results (list): One item per image. The list is emptied, so that
                the scores need not be in memory twice.

        Returns:
            dict[str, float]: Metrics of all images.

        Raises:
            InputError: If there are no images, or only some of the defective
                images have a mask.
        """
        census = PixelCensus(self.resolution)
        images: dict[str | None, list[ImagePixels]] = defaultdict(list)
        for result in results:
            census.add(result)
            images[result.defect_type].append(result)
        results.clear()
        groups = {name: _join(images[name]) for name in images}

        def rank_types(names: Sequence[str | None]) -> Ranking:
            negatives, positives, weights, numbers = zip(*(groups[name]
                                                           for name in names))
            return rank_sorted(negatives, np.concatenate(positives),
                               np.concatenate(weights), sum(numbers))

        return self._report(census, list(groups), rank_types)

    def summarize(self, ranking: Ranking) -> dict[str, float]:
        """Compute the metrics of the pixels of all images.

        Args:
            ranking (Ranking): The ranked pixels.

        Returns:
            dict[str, float]: Metrics of all images.
        """
        return self.values_of(ranking)

    def further_conditions(self) -> dict[str, Any]:
        """Return conditions of the subclass, without their prefix."""
        return {}

    def _report(
        self, census: PixelCensus, names: Sequence[str | None],
        rank_types: Callable[[Sequence[str | None]],
                             Ranking]) -> dict[str, float]:
        census.check()
        conditions = dict(
            resolution=self.resolution,
            fpr_limit=self.fpr_limit,
            score_bits=self.score_bits,
            **self.further_conditions(),
            map_size=census.map_size,
            images_with_mask=census.defects.masked,
            regions=census.regions,
            cropped_images=census.cropped)
        self.conditions = {
            **{
                f'{self.PREFIX}{name}': value
                for name, value in conditions.items()
            },
            **{
                f'{self.MASKS_PREFIX}{name}': number
                for name, number in census.defects.conditions.items()
            },
        }
        self.warnings = census.defects.sentences()
        normal = [None] if None in names else []
        defects = sorted(name for name in names if name is not None)
        self.per_defect_type = {
            name: self.values_of(rank_types([*normal, name]))
            for name in defects
        }
        return self.summarize(rank_types(names))

    def _bin_held(self, bits: int) -> None:
        if self._held is None:
            return
        image = self._held
        self._held = None
        self._census.add(image)
        histogram = self._histograms.setdefault(image.defect_type,
                                                ScoreHistogram(bits))
        histogram.update(image.negatives, image.positives, image.weights,
                         image.num_regions)

    def _reset(self) -> None:
        self._held = None
        self._num_processed = 0
        self._census = PixelCensus(self.resolution)
        self._histograms: dict[str | None, ScoreHistogram] = {}
