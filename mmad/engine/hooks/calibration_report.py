"""What is said and written of a calibration."""
import json
from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import Runner
from torch import Tensor

from mmad.errors import printable
from mmad.models.layers import Decision
from mmad.utils import write_atomically

_SHOWN = 3


def report_calibration(runner: Runner, decision: Decision, wanted: float,
                       paths: Sequence[str | None], scores: Tensor) -> None:
    """Log the thresholds, and write ``calibration.json``.

    Args:
        runner (Runner): Has the logger and the work directory.
        decision (Decision): Has been calibrated.
        wanted (float): The false-alarm rate that was asked for.
        paths (Sequence[str | None]): Paths of the normal images.
        scores (Tensor): ``(n,)``, their scores.
    """
    conditions = decision.conditions
    image, pixel = decision.thresholds.tolist()
    oddest = sorted(
        zip(paths, scores.tolist(), strict=True), key=lambda each: -each[1])
    record = dict(
        conditions,
        image_threshold=image,
        pixel_threshold=pixel,
        images=[dict(path=path, score=score) for path, score in oddest])
    write_atomically(
        Path(runner.work_dir, 'calibration.json'),
        (json.dumps(record, indent=2) + '\n').encode())
    say = runner.logger.info
    rate = conditions['false_alarm_rate']
    if rate is None:
        say(f'Threshold: {image:.4g}, of the map {pixel:.4g} '
            f'({conditions["threshold_kind"]})')
        return
    if rate > wanted:
        runner.logger.warning(
            f'{len(decision)} normal images cannot tell a false-alarm rate '
            f'below {100 * rate:.2g} %, which is used in place of '
            f'{100 * wanted:g} %; calibrate with at least '
            f'{round(1 / wanted) - 1}, or raise '
            '`default_hooks.calibration.false_alarm_rate`.')
    how = ('held out' if conditions['calibration'] == 'held_out' else
           'each left out of the fit')
    say(f'Threshold: {image:.4g}, of the map {pixel:.4g}, for a false-alarm '
        f'rate of {100 * rate:.2g} %, from {len(decision)} normal images, '
        f'{how}')
    say(f'Their scores: {_describe(scores)}')
    odd = ', '.join(f'{Path(path or "?").name} ({score:.4g})'
                    for path, score in oddest[:_SHOWN])
    say(printable(f'Oddest normal images: {odd}'))


def _describe(scores: Tensor) -> str:
    """Describe a distribution by those of its quantiles that differ."""
    values = scores.sort().values
    shares = [s for s in (0.5, 0.9, 0.99) if s <= 1 - 1 / len(values)]
    parts = [f'{values[0]:.4g} (lowest)']
    parts += [
        f'{values.quantile(share):.4g} '
        f'({"median" if share == 0.5 else f"{100 * share:g} %"})'
        for share in shares
    ]
    return ', '.join([*parts, f'{values[-1]:.4g} (highest)'])
