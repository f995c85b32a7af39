import json
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_number

from .fitted_module import FittedModule

# Far below the step of any number of images, and above rounding.
_ROUNDING = 1e-9


class Decision(FittedModule):
    """Verdicts from scores, at thresholds with a stated false-alarm rate.

    Inductive conformal anomaly detection (Laxhammar and Falkman, 2015): with
    the scores of ``n`` normal images that the model has not learned from, the
    threshold for a false-alarm rate ``a`` is the ``ceil((n + 1)(1 - a))``-th
    smallest of them. Where new normal images come from the same source, at
    most a share ``a`` of them is above it on average, whatever the
    distribution of the scores. The p-value of a score is the share of normal
    images that look at least as odd, the new one included.

    The same is done with the largest values of the anomaly maps, so that at
    most a share ``a`` of the normal images has any pixel that is marked.

    A model can be fitted and predict without it; then there are scores only.

    Attributes:
        scores (Tensor): ``(n,)`` float32, of the normal images, ascending.
        peaks (Tensor): ``(n,)`` float32, the largest values of their maps,
            ascending.
        images (Tensor): ``(n, 2)`` int64, the number in the fit of the image
            that each score, and each peak, is of; -1 if it was not in there.
        thresholds (Tensor): ``(2,)`` float32, for image scores and for maps.
            What is above counts as anomalous.
    """

    needs_pass = False
    is_required = False
    scores: Tensor
    peaks: Tensor
    images: Tensor
    thresholds: Tensor
    about: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_fitted('scores')
        self.register_fitted('peaks')
        self.register_fitted('images', ndim=2, dtype=torch.int64)
        self.register_fitted('thresholds')
        self.register_fitted('about', dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def conditions(self) -> dict:
        """How the thresholds came about.

        ``calibration`` is how the normal images were left out,
        ``calibration_images`` their number, ``threshold_kind`` is
        ``'conformal'``, ``'best_f1'`` or ``'given'``, and
        ``false_alarm_rate`` the wanted one, None unless it is conformal.
        Where so few images cannot tell the rate that was asked for,
        ``requested_rate``, ``false_alarm_rate`` is the lowest that they can.
        """
        return json.loads(bytes(self.about.tolist()) or '{}')

    def calibrate(self,
                  scores: Tensor,
                  peaks: Tensor,
                  false_alarm_rate: float,
                  method: str,
                  numbers: Sequence[int] | None = None) -> None:
        """Learn from normal images, and set the thresholds.

        Args:
            scores (Tensor): ``(n,)``, of normal images that the model has not
                learned from.
            peaks (Tensor): ``(n,)``, the largest values of their maps.
            false_alarm_rate (float): Wanted share of normal images above the
                thresholds, in (0, 1).
            method (str): How the images were left out, for ``conditions``.
            numbers (Sequence[int], optional): Those of the images in the fit.
                Defaults to None: they were not in there.

        Raises:
            InputError: There are no images, a score is not finite, or the
                rate is out of its range.
        """
        if not len(scores) or not (scores.isfinite().all()
                                   and peaks.isfinite().all()):
            raise InputError(
                'thresholds need the finite scores of at least one normal '
                'image; add images, or check the weights.')
        numbers = [-1] * len(scores) if numbers is None else numbers
        known = self.images.new_tensor(list(numbers))
        self.scores, order = scores.to(self.scores).sort()
        self.peaks, peak_order = peaks.to(self.peaks).sort()
        self.images = torch.stack([known[order], known[peak_order]], 1)
        self._describe(calibration=method, calibration_images=len(scores))
        self.set_false_alarm_rate(false_alarm_rate)

    def by_image(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return numbers, scores and peaks, each ``(n,)``, by number.

        Those of images with the number -1 may belong to different images.
        """
        order, peak_order = self.images.argsort(dim=0, stable=True).T
        return (self.images[order,
                            0], self.scores[order], self.peaks[peak_order])

    def set_false_alarm_rate(self, rate: float) -> None:
        """Set the thresholds for a wanted share of normal images above them.

        With ``n`` images, a rate below ``1 / (n + 1)`` cannot be told from
        it; then that one is used, see :attr:`lowest_rate`.

        Raises:
            InputError: The rate is out of (0, 1), or there was no
                calibration.
        """
        check_number('false_alarm_rate', rate, above=0, below=1)
        self.require_calibrated()
        used = max(rate, self.lowest_rate)
        above = math.floor((len(self) + 1) * used + _ROUNDING)
        place = len(self) - above
        self.thresholds = torch.stack([self.scores[place], self.peaks[place]])
        self._describe(
            threshold_kind='conformal',
            false_alarm_rate=used,
            requested_rate=rate)

    def set_thresholds(self, image: float, pixel: float, kind: str) -> None:
        """Set given thresholds for image scores and maps.

        Args:
            image (float): What is above is an anomalous image.
            pixel (float): What is above is an anomalous pixel.
            kind (str): Where they come from, for ``conditions``.

        Raises:
            InputError: There was no calibration.
        """
        self.require_calibrated()
        self.thresholds = self.scores.new_tensor([image, pixel])
        self._describe(threshold_kind=kind, false_alarm_rate=None)

    def require_calibrated(self) -> None:
        """Raise :class:`InputError` if there was no calibration."""
        if not len(self):
            raise InputError(
                'the model has no threshold; fit it with the CalibrationHook '
                '(`default_hooks.calibration`).')

    @property
    def lowest_rate(self) -> float:
        """The lowest false-alarm rate that so many images can tell."""
        return 1 / (len(self) + 1)

    def p_values(self, scores: Tensor) -> Tensor:
        """Compute the p-values ``(B,)`` of image scores ``(B,)``.

        They are the share of normal images with a score at least as high,
        the new one included: at least ``1 / (n + 1)``, at most 1.
        """
        below = torch.searchsorted(self.scores, scores.contiguous())
        return (len(self) - below + 1) / (len(self) + 1)

    def forward(self, scores: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Compare scores and maps with the thresholds.

        Args:
            scores (Tensor): ``(B,)``.
            maps (Tensor): ``(B, 1, H, W)``; NaN is never above.

        Returns:
            tuple[Tensor, Tensor]: Labels ``(B,)`` and masks
            ``(B, 1, H, W)``, bool.
        """
        return scores > self.thresholds[0], maps > self.thresholds[1]

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # Checkpoints that were written before there were thresholds.
        if any(key.startswith(prefix) for key in state_dict):
            super()._load_from_state_dict(state_dict, prefix, *args)
            self._check_shapes(prefix)
        else:
            self.reset()

    def _check_shapes(self, prefix: str) -> None:
        number = self.scores.numel()
        expected: dict = dict(scores=(number, ), peaks=(number, ))
        if number:
            expected.update(thresholds=(2, ), images=(number, 2))
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InputError(
                    f'the tensor "{prefix}{name}" of the checkpoint does not '
                    f'go with {number} calibration images; it is damaged: '
                    'calibrate again, by fitting or tools/update.py '
                    '--calibrate.')

    def _describe(self, **entries: object) -> None:
        text = json.dumps(dict(self.conditions, **entries), sort_keys=True)
        self.about = self.about.new_tensor(list(text.encode()))
