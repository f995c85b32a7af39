"""Draw a brushed, drilled and printed metal plate with a woven insert.

Lengths are in units of 1/256 of the side of the image; on a plate at any pose
they are smaller. The coordinates ``(u, v)`` of a plate start at its center
and, as long as it is upright, point right and down.
"""
import math

import cv2
import numpy as np

from .plate_pose import PlatePose

DEFECT_TYPES = ('hole', 'misdrilled', 'scratch', 'stain', 'weave')

_SPLITS = ('train', 'test')
_EDGE = 106  # half of the plate's side
_MESH = 36  # radius of the woven insert
_SCREWS = [(x, y) for x in (-76, 76) for y in (-76, 76)]
_RIVETS = [(59 * math.cos(math.pi / 5 * number),
            59 * math.sin(math.pi / 5 * number)) for number in range(10)]
_RIVET = 4.0
_SCREW = 9.5
_LETTERS = [
    np.array([(x - 9, 93), (x - 9, 81), (x, 89), (x + 9, 81), (x + 9, 93)])
    for x in (-26, 0, 26)
]

_METAL = np.array([0.58, 0.60, 0.62], np.float32)
_WIRE = np.array([0.60, 0.48, 0.33], np.float32)
_INK = np.array([0.13, 0.22, 0.42], np.float32)
_BELT = np.array([0.17, 0.18, 0.19], np.float32)
_RUST = np.array([0.55, 0.8, 1.0], np.float32)


def render(seed: int,
           split: str,
           index: int,
           defect_type: str | None = None,
           size: int = 256,
           at_any_pose: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Draw one plate and its mask.

    With and without ``defect_type``, it is the same plate in the same light,
    so the two images only differ by the defect. At any pose it is a smaller
    one, with the light still from the upper left of the image.

    Args:
        seed (int): Seed of the data set.
        split (str): ``'train'`` or ``'test'``.
        index (int): Number of the image in its split.
        defect_type (str, optional): One of :data:`DEFECT_TYPES`. Defaults to
            None: no defect.
        size (int): Side of the image in pixels. Defaults to 256.
        at_any_pose (bool): Draw the plate at any angle and off the center
            instead of upright, see :func:`any_pose`. Defaults to False.

    Returns:
        tuple[np.ndarray, np.ndarray]: RGB image ``(size, size, 3)`` and
        mask ``(size, size)``, 0 or 255, both uint8.
    """
    key = [seed, _SPLITS.index(split), index]
    rng = np.random.default_rng(key)
    defect_rng = np.random.default_rng([*key, 1])
    pose = _draw_pose(rng, key, at_any_pose)
    u, v = pose.coordinates(size)
    mask = np.zeros((size, size), bool)

    rivets = [(x, y, _RIVET) for x, y in _RIVETS]
    if defect_type == 'misdrilled':
        mask |= _misdrill(defect_rng, u, v, rivets)
    albedo, height = _plate(rng, u, v, rivets)
    mesh = _cover(_MESH - np.hypot(u, v))[..., None]
    woven = _weave(rng, u, v)
    if defect_type == 'weave':
        woven, spot = _disturb_weave(defect_rng, u, v, woven)
        mask |= (spot > 0.5) & (mesh[..., 0] > 0.5)
    albedo += mesh * (woven[..., None] * _WIRE - albedo)
    if defect_type == 'scratch':
        mask |= _scratch(defect_rng, u, v, albedo, height)
    elif defect_type == 'hole':
        mask |= _pit(defect_rng, u, v, albedo, height)
    elif defect_type == 'stain':
        mask |= _stain(defect_rng, u, v, albedo)
    _dust(rng, albedo)
    if at_any_pose:
        height *= pose.scale
    image = _photograph(rng, albedo, height)
    return image, np.uint8(255) * mask


def any_pose(seed: int, split: str, index: int) -> PlatePose:
    """Return the pose of a plate that :func:`render` draws at any pose."""
    key = [seed, _SPLITS.index(split), index]
    return _draw_pose(np.random.default_rng(key), key, True)


def _draw_pose(rng: np.random.Generator, key: list[int],
               at_any_pose: bool) -> PlatePose:
    pose_rng = np.random.default_rng([*key, 2]) if at_any_pose else None
    return PlatePose.draw(rng, pose_rng)


def _cover(depth: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """Convert the signed distance inside a shape to its opacity."""
    return np.clip(depth / softness + 0.5, 0, 1)


def _square(u: np.ndarray, v: np.ndarray, half: float,
            corner: float) -> np.ndarray:
    """Compute the signed distance inside a square with round corners."""
    x, y = np.abs(u) - half + corner, np.abs(v) - half + corner
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    return corner - outside - np.minimum(np.maximum(x, y), 0)


def _to_path(u: np.ndarray, v: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Compute the distance to the polyline ``points`` of shape (N, 2)."""
    nearest = np.full_like(u, np.inf)
    steps = np.diff(points, axis=0)
    for (x, y), (dx, dy) in zip(points[:-1].tolist(), steps.tolist()):
        along = ((u - x) * dx + (v - y) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        nearest = np.minimum(nearest,
                             np.hypot(u - x - along * dx, v - y - along * dy))
    return nearest


def _noise(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
           cell_u: float, cell_v: float) -> np.ndarray:
    """Draw smooth noise on the plate, with unit variance at its nodes."""
    rows, columns = int(300 / cell_v) + 3, int(300 / cell_u) + 3
    nodes = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.remap(
        nodes, ((u + 150) / cell_u + 1).astype(np.float32),
        ((v + 150) / cell_v + 1).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT)


def _plate(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
           rivets: list) -> tuple[np.ndarray, np.ndarray]:
    """Draw the albedo (H, W, 3) and the height (H, W) of a plate."""
    inside = _square(u, v, _EDGE, 20)
    radius = np.hypot(u, v)
    belt = 1 + 0.06 * _noise(rng, u, v, 9, 9) + 0.05 * _noise(rng, u, v, 2, 2)
    belt *= 1 - 0.4 * np.exp(-np.maximum(-inside, 0) / 6)
    brushed = (1 + 0.030 * _noise(rng, u, v, 45, 1.1) +
               0.022 * _noise(rng, u, v, 14, 1) +
               0.025 * _noise(rng, u, v, 70, 60))
    plate = _cover(inside)[..., None]
    albedo = belt[..., None] * _BELT
    albedo += plate * (brushed[..., None] * _METAL - albedo)

    height = 4 * np.clip(inside / 5, 0, 1)
    height -= 1.3 * _cover(1.5 - np.abs(inside - 13))
    height += 1.8 * _cover(4.5 - np.abs(radius - _MESH - 6), 2)
    height -= 3 * _cover(_MESH - radius, 3)

    ink = rng.uniform(0.75, 0.92) * np.max(
        [_cover(1.7 - _to_path(u, v, letter)) for letter in _LETTERS], 0)
    ticks = _cover(0.8 - np.abs((u + 3.5) % 7 - 3.5)) * _cover(
        4 - np.abs(v + 87)) * _cover(42.5 - np.abs(u))
    ink = np.maximum(ink, 0.6 * ticks)
    albedo += ink[..., None] * (_INK - albedo)

    holes = [*rivets, *((*at, _SCREW) for at in _SCREWS)]
    depth = np.max([size - np.hypot(u - x, v - y) for x, y, size in holes], 0)
    height -= 1.5 * np.clip(1 + depth / 2.5, 0, 1)
    albedo += _cover(depth)[..., None] * (0.35 * _BELT - albedo)
    return albedo, height


def _weave(rng: np.random.Generator, u: np.ndarray,
           v: np.ndarray) -> np.ndarray:
    """Draw the brightness of a plain weave at a slightly random position."""
    pitch = rng.uniform(6.95, 7.05)
    return _threads(u + rng.uniform(-1.5, 1.5), v + rng.uniform(-1.5, 1.5),
                    pitch) * (1 + 0.04 * _noise(rng, u, v, 4, 4))


def _threads(u: np.ndarray, v: np.ndarray, pitch: float) -> np.ndarray:
    warp = np.abs(np.sin(np.pi * u / pitch))
    weft = np.abs(np.sin(np.pi * v / pitch))
    over = (np.floor(u / pitch) + np.floor(v / pitch)) % 2
    above = np.where(over, warp * (0.6 + 0.4 * weft),
                     weft * (0.6 + 0.4 * warp))
    return 0.35 + 0.85 * above


def _misdrill(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
              rivets: list) -> np.ndarray:
    """Leave out, move or widen one rivet hole, in place."""
    chosen = rng.integers(len(rivets))
    x, y, size = rivets.pop(chosen)
    wrong = np.hypot(u - x, v - y) < size + 2
    fault = rng.integers(3)
    if fault == 0:
        return wrong
    if fault == 1:
        angle = rng.uniform(0, 2 * math.pi)
        far = rng.uniform(5, 8)
        x, y = x + far * math.cos(angle), y + far * math.sin(angle)
    else:
        size *= rng.uniform(1.5, 1.9)
    rivets.append((x, y, size))
    return wrong | (np.hypot(u - x, v - y) < size + 2)


def _disturb_weave(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
                   woven: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distort or clog the weave in one spot."""
    angle = rng.uniform(0, 2 * math.pi)
    far = rng.uniform(0, 22)
    x, y = far * math.cos(angle), far * math.sin(angle)
    spot = _blob(rng, u, v, x, y, rng.uniform(9, 13))
    spot = np.clip(4 * (spot - 0.5) + 0.5, 0, 1)
    if rng.random() < 0.5:
        turn = rng.uniform(0.5, math.pi / 4)
        other = _threads(
            math.cos(turn) * u + math.sin(turn) * v,
            math.cos(turn) * v - math.sin(turn) * u, rng.uniform(9.5, 12))
    else:
        other = rng.uniform(0.3, 0.45) + 0.25 * woven
    return woven + spot * (other - woven), spot


def _scratch(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
             albedo: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Draw a thin, bent line that is lighter or darker, in place."""
    x, y = _spot(rng, 0)
    length = rng.uniform(25, 60)
    angle = rng.uniform(0.25, np.pi - 0.25)
    angles = angle + rng.uniform(-0.5, 0.5) * np.linspace(-1, 1, 13)
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * length / 13
    points = np.cumsum(steps, 0) - steps.sum(0) / 2 + (x, y)
    distance = _to_path(u, v, points)
    width = rng.uniform(0.6, 1.1)
    solid = _square(u, v, _EDGE - 3, 20) > 0
    line = _cover(width - distance) * solid
    change = float(rng.uniform(0.18, 0.36) * rng.choice([-1, 1]))
    albedo *= 1 + change * line[..., None]
    height -= 0.35 * line
    return (distance < width + 1) & solid


def _pit(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
         albedo: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Draw a small, irregular pit, in place."""
    radius = rng.uniform(2.2, 4.2)
    pit = _blob(rng, u, v, *_spot(rng, 6), radius)
    pit = np.clip(2.5 * (pit - 0.5) + 0.5, 0, 1)
    albedo *= 1 - rng.uniform(0.35, 0.7) * pit[..., None]
    height -= rng.uniform(0.3, 0.9) * pit
    return pit > 0.1


def _stain(rng: np.random.Generator, u: np.ndarray, v: np.ndarray,
           albedo: np.ndarray) -> np.ndarray:
    """Darken and tint a soft-edged patch, in place."""
    radius = rng.uniform(8, 17)
    stain = _blob(rng, u, v, *_spot(rng, radius / 2), radius)
    stain = np.clip(1.6 * (stain - 0.5) + 0.5, 0, 1)
    albedo *= 1 - rng.uniform(0.17, 0.32) * stain[..., None] * _RUST
    return stain > 0.3


def _blob(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, x: float,
          y: float, radius: float) -> np.ndarray:
    """Draw a patch with lobes, from 1 inside to 0 outside, 0.5 at its rim."""
    angle = np.arctan2(v - y, u - x)
    rim: float | np.ndarray = 1.0
    for lobes in (2, 3, 5):
        rim = rim + rng.uniform(0, 0.5 / lobes) * np.sin(
            lobes * angle + rng.uniform(0, 2 * math.pi))
    return np.clip(1 - 0.5 * np.hypot(u - x, v - y) / (radius * rim), 0, 1)


def _spot(rng: np.random.Generator, margin: float) -> tuple[float, float]:
    """Choose a place on the metal, ``margin`` away from all holes."""
    holes = [
        *((*at, _RIVET) for at in _RIVETS), *((*at, _SCREW) for at in _SCREWS),
        (0, 0, _MESH + 11)
    ]
    while True:
        x, y = rng.uniform(-86, 86, 2).tolist()
        if all(
                math.hypot(x - a, y - b) > size + margin
                for a, b, size in holes):
            return x, y


def _dust(rng: np.random.Generator, albedo: np.ndarray) -> None:
    """Add specks and hairs that do not count as defects, in place."""
    size = len(albedo)
    for x, y in rng.integers(0, size, (rng.integers(15, 40), 2)):
        length = rng.integers(2, 7) if rng.random() < 0.3 else 1
        albedo[y, x:x + length] *= 1 + np.float32(rng.uniform(-0.14, 0.14))


def _photograph(rng: np.random.Generator, albedo: np.ndarray,
                height: np.ndarray) -> np.ndarray:
    """Render the plate under light from the upper left."""
    size = len(height)
    down, right = np.gradient(height * size / 256)
    angle = math.radians(rng.uniform(215, 235))
    slope = math.cos(angle) * right + math.sin(angle) * down
    shade = 1 - rng.uniform(0.28, 0.36) * np.tanh(slope)

    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    light = rng.uniform(0.92,
                        1.08) * (1 + rng.uniform(0, 0.22) *
                                 (math.cos(angle) * x + math.sin(angle) * y))
    tint = np.float32(1 + rng.uniform(-0.02, 0.02, 3))
    image = albedo * (shade * light)[..., None] * tint
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.45, 0.65))
    image += rng.uniform(0.006, 0.014) * rng.standard_normal(
        image.shape, dtype=np.float32)
    return (np.clip(image, 0, 1)**(1 / 1.25) * 255 + 0.5).astype(np.uint8)
