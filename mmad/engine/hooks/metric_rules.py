"""The names of the metrics of mmad, for hooks that compare metrics."""
from collections.abc import Sequence

from mmengine.evaluator import Evaluator

from mmad.evaluation import ImageMetric, PixelMetric, SaturatedPROMetric
from mmad.evaluation.report import (
    IMAGE_METRICS,
    PIXEL_METRICS,
    SATURATED_METRICS,
    TYPE_MEANS,
)

# Higher values are better. MMEngine also matches parts of names.
GREATER_KEYS = ['auroc', 'image_ap', 'pixel_ap', 'f1max', 'aupro', 'auspro']


def reported_metrics(evaluator: Evaluator) -> list[str] | None:
    """Return the names of the metrics that an evaluator will report.

    Args:
        evaluator (Evaluator): Evaluator of a validation or test loop.

    Returns:
        list[str] | None: Names of the metrics; None if the evaluator has
        metrics of other packages, whose names are not known before they are
        computed.
    """
    names: list[str] = []
    own: Sequence[str]
    for metric in evaluator.metrics:
        if type(metric) is ImageMetric:
            own = IMAGE_METRICS + TYPE_MEANS * metric.mean_over_types
        elif type(metric) is PixelMetric:
            own = PIXEL_METRICS
        elif type(metric) is SaturatedPROMetric:
            own = SATURATED_METRICS
        else:
            return None
        prefix = f'{metric.prefix}/' if metric.prefix else ''
        names += [prefix + name for name in own]
    return names
