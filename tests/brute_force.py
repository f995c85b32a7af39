"""The curve of the saturated per-region overlap, counted at each threshold."""
from itertools import pairwise

import numpy as np


def count_spro_curve(images):
    """Points (false positive rate, overlap) from the highest score down.

    `images` has the scores (H, W), regions (R, H, W) and saturation areas of
    each image.
    """
    thresholds = {score for scores, *_ in images for score in scores.ravel()}
    points = [(0.0, 0.0)]
    for threshold in sorted(thresholds, reverse=True):
        alarms = normal = 0
        overlaps = []
        for scores, regions, areas in images:
            found = scores >= threshold
            healthy = ~np.any(regions, axis=0)
            alarms += int((found & healthy).sum())
            normal += int(healthy.sum())
            for region, area in zip(regions, areas):
                overlaps.append(min(int((found & region).sum()) / area, 1))
        points.append((alarms / normal, sum(overlaps) / len(overlaps)))
    return points


def area_up_to(points, limit):
    """The area below a curve up to a false positive rate, divided by it."""
    total = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x0 < x1:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            total += (end - x0) * (y0 + y_end) / 2
    return total / limit
