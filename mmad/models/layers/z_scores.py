from collections.abc import Sequence

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_number

from .fitted_module import FittedModule

# Relative to the mean; far above the rounding of float32.
_LEAST_SPREAD = 1e-5


class ZScores(FittedModule):
    """Combines the scores of several detectors on the scale of normal images.

    With the mean and the standard deviation of the scores that detector ``k``
    of ``K`` gives to normal images, the combined score is the mean of the
    z-scores::

        s = 1 / K * sum_k (s_k - mean_k) / std_k

    The same is done with anomaly maps, at each pixel, with the mean and the
    standard deviation of all pixels of normal images.

    What a detector adds to all its scores, or multiplies them by, has no
    effect. An image's score does not depend on the images scored with it.

    Args:
        num_detectors (int): ``K``.

    Raises:
        InputError: ``num_detectors`` is out of its range.

    Attributes:
        means (Tensor): ``(K, 2)`` float32, of the scores and of the maps.
        stds (Tensor): ``(K, 2)`` float32, likewise.
    """

    needs_pass = False
    means: Tensor
    stds: Tensor

    def __init__(self, num_detectors: int) -> None:
        super().__init__()
        check_number('num_detectors', num_detectors, low=1, integer=True)
        self.num_detectors = num_detectors
        self.register_fitted('means', ndim=2)
        self.register_fitted('stds', ndim=2)

    def measure(self, scores: Tensor, map_means: Tensor,
                map_stds: Tensor) -> None:
        """Learn the scales from normal images.

        Args:
            scores (Tensor): ``(K, n)``, of images that the detectors have not
                learned from.
            map_means (Tensor): ``(K, n)``, the mean value of their maps.
            map_stds (Tensor): ``(K, n)``, the standard deviation of the
                values of each map.

        Raises:
            InputError: There are fewer than two images, a value is not
                finite, or all those of a detector are the same.
        """
        values = torch.stack([scores, map_means, map_stds]).double()
        number = values.shape[2]
        if number < 2 or not values.isfinite().all():
            raise InputError(
                'the scales of several detectors need the finite scores of '
                f'at least two normal images, got {number}; add images, or '
                'check the weights.')
        scores, map_means, map_stds = values
        # Within the maps and between them, each image counting the same.
        variance = (map_stds**2).mean(1) + map_means.var(1, correction=0)
        means = torch.stack([scores.mean(1), map_means.mean(1)], 1)
        stds = torch.stack([scores.std(1), variance.sqrt()], 1)
        flat = stds <= _LEAST_SPREAD * means.abs()
        if flat.any():
            detector, which = flat.nonzero()[0].tolist()
            raise InputError(
                f'member {detector} gives all {number} normal images the same '
                f'{("score", "map, of a single value")[which]} '
                f'({float(means[detector, which]):.4g}), so that it has no '
                'scale to be combined on; leave it out, or take normal images '
                'that are not copies of each other.')
        self.means, self.stds = means.to(self.means), stds.to(self.stds)

    def forward(self, scores: Sequence[Tensor],
                maps: Sequence[Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """Combine scores and maps.

        Args:
            scores (Sequence[Tensor]): ``(B,)`` of each detector.
            maps (Sequence[Tensor | None]): ``(B, 1, H, W)`` of each.

        Returns:
            tuple[Tensor, Tensor | None]: ``(B,)`` and ``(B, 1, H, W)``; None
            in place of the maps where one is missing.
        """
        given = [one for one in maps if one is not None]
        return self._mean(scores, 0), (
            self._mean(given, 1) if len(given) == len(scores) else None)

    def _mean(self, values: Sequence[Tensor], which: int) -> Tensor:
        means, stds = self.means[:, which], self.stds[:, which]
        return torch.stack([
            (value - mean) / std
            for value, mean, std in zip(values, means, stds, strict=True)
        ]).mean(0)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        shapes = {
            tuple(state_dict[prefix + name].shape)
            for name in ('means', 'stds') if prefix + name in state_dict
        }
        if len(shapes) > 1 or not shapes <= {(0, 0), (self.num_detectors, 2)}:
            raise InputError(
                f'the scales "{prefix}means" and "{prefix}stds" of the '
                f'checkpoint are not those of {self.num_detectors} '
                'detectors; it is damaged or of another model: fit again.')
