import numpy as np


def pose_errors(matrices: np.ndarray, angles: np.ndarray, centers: np.ndarray,
                size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Compare the alignment of images with the true poses of their parts.

    Alignment may bring the parts into any common pose, so only poses relative
    to each other count: the median angle of the aligned parts and the median
    position of their centers are taken as the common pose.

    Args:
        matrices (np.ndarray): Maps of points of the aligned image to points
            of the image, ``(N, 3, 3)``, in coordinates from -1 to 1, see
            :mod:`mmad.models.layers.affine`.
        angles (np.ndarray): ``(N,)`` true angles in degrees, clockwise as
            seen in the image.
        centers (np.ndarray): ``(N, 2)`` true x and y of the centers of the
            parts, from the left and from the top, as a share of the width and
            of the height of the image.
        size (tuple[int, int]): Height and width of the images in pixels.

    Returns:
        tuple[np.ndarray, np.ndarray]: For each image the error of the angle
        in degrees, from 0 to 180, and the distance in the image between the
        true center and the point that is brought to the common position, as a
        share of the shorter side, ``(N,)`` each.
    """
    matrices = np.asarray(matrices, np.float64)
    halves = np.array(size[::-1]) / 2
    linear = matrices[:, :2, :2] * halves[:, None] / halves
    turns = np.arctan2(linear[:, 1, 0] - linear[:, 0, 1],
                       linear[:, 0, 0] + linear[:, 1, 1])
    aligned = np.asarray(angles) - np.rad2deg(turns)
    angle_errors = np.abs(_wrap(aligned - _circular_median(aligned)))

    ones = np.ones((len(matrices), 1))
    points = np.column_stack([2 * np.asarray(centers) - 1, ones])
    common = np.median(np.linalg.solve(matrices, points[..., None]), 0)
    shifts = ((matrices @ common)[..., 0] - points)[:, :2] * halves
    return angle_errors, np.hypot(*shifts.T) / min(size)


def _wrap(angles: np.ndarray) -> np.ndarray:
    """Bring angles in degrees into the range from -180 to 180."""
    return (angles + 180) % 360 - 180


def _circular_median(angles: np.ndarray) -> float:
    """Find the angle with the least sum of distances to all others."""
    distances = np.abs(_wrap(angles[:, None] - angles))
    nearest = angles[distances.sum(1).argmin()]
    return nearest + np.median(_wrap(angles - nearest))
