"""Generate images of random textures, for ``make_demo_backbone.py``.

An image is composed of fields, which are gray textures ``(size, size)`` with
values from 0 to 1. They are colored, blended, and used as masks.
"""
import cv2
import numpy as np


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw noise of several octaves, often stretched along one axis."""
    field = np.zeros((size, size), np.float32)
    stretch = 2.0**rng.uniform(0, 3) if rng.random() < 0.4 else 1.0
    decay = rng.uniform(0.35, 1.0)
    first = rng.integers(1, 6)
    for octave in range(first, first + rng.integers(1, 5)):
        rows = min(2**octave, size)
        columns = max(2, round(rows / stretch))
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        field += decay**octave * cv2.resize(
            grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return spread(field.T if rng.random() < 0.5 else field)


def stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw warped stripes with a smooth, hard or sawtooth profile."""
    phase = rng.uniform(1.5, size / 4) * ramp(rng, size)
    phase += rng.uniform(0, 1.5) * noise(rng, size)
    profile = rng.integers(3)
    if profile == 0:
        return 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    if profile == 1:
        return ((phase % 1) < rng.uniform(0.1, 0.9)).astype(np.float32)
    return phase % 1


def weave(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw two sets of threads that pass over and under each other."""
    count = rng.uniform(3, size / 6)
    angle = rng.uniform(0, np.pi)
    along = count * ramp(rng, size, angle)
    across = count * ramp(rng, size, angle + np.pi / 2)
    over = ((np.floor(along) + np.floor(across)) % 2).astype(np.float32)
    first = np.abs(np.sin(np.pi * along))
    second = np.abs(np.sin(np.pi * across))
    return over * first + (1 - over) * second * rng.uniform(0.3, 1)


def cells(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw Voronoi cells: flat, shaded by distance, or only their walls."""
    canvas = np.ones((size, size), np.uint8)
    count = int(2**rng.uniform(2, 9))
    canvas[tuple(rng.integers(0, size, (2, count)))] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    variant = rng.integers(3)
    if variant == 0:
        return rng.random(count + 1, dtype=np.float32)[labels]
    if variant == 1:
        return spread(distance)
    shade = labels.astype(np.float32)
    walls = cv2.morphologyEx(shade, cv2.MORPH_GRADIENT, np.ones((3, 3)))
    return (walls > 0).astype(np.float32)


def dots(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw discs or rings on a jittered, rotated grid."""
    canvas = np.zeros((size, size), np.uint8)
    pitch = rng.uniform(5, size / 3)
    radius = pitch * rng.uniform(0.12, 0.5)
    thickness = -1 if rng.random() < 0.7 else int(rng.integers(1, 4))
    steps = np.arange(-size, size, pitch)
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    angle = rng.uniform(0, np.pi / 2)
    turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    points = points @ np.array(turn) + rng.uniform(0, size, 2)
    points += rng.uniform(0, 0.4) * pitch * rng.standard_normal(points.shape)
    inside = np.all((points > -radius) & (points < size + radius), 1)
    for x, y in points[inside][:400]:
        cv2.circle(canvas, (int(x * 16), int(y * 16)), int(radius * 16), 255,
                   thickness, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def shapes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw overlapping polygons, ellipses and rectangles in shades of gray."""
    canvas = np.full((size, size), int(rng.integers(256)), np.uint8)
    for _ in range(rng.integers(1, 12)):
        gray = int(rng.integers(256))
        center = rng.uniform(0, size, 2)
        radius = size * 2.0**rng.uniform(-4.5, -1)
        variant = rng.integers(3)
        if variant == 0:
            axes = np.maximum(1, radius * rng.uniform(0.3, 1, 2)).astype(int)
            cv2.ellipse(canvas, tuple(int(c) for c in center),
                        tuple(int(a) for a in axes),
                        rng.uniform(0, 180), 0, 360, gray,
                        int(rng.choice([-1, -1, 1, 3])), cv2.LINE_AA)
            continue
        corners = 4 if variant == 1 else int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        if variant == 1:
            half = rng.uniform(0.2, np.pi / 2 - 0.2)
            angles = rng.uniform(0, np.pi) + np.array(
                [-half, half, np.pi - half, np.pi + half])
        points = center + radius * np.stack(
            [np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(canvas, [np.int32(points * 16)], gray, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def strokes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw curved and straight lines of different widths."""
    canvas = np.zeros((size, size), np.uint8)
    wander = rng.uniform(0, 0.5)
    for _ in range(rng.integers(1, 30)):
        angle = rng.uniform(0, 2 * np.pi)
        angle = angle + wander * np.cumsum(rng.standard_normal(12))
        step = size * rng.uniform(0.01, 0.12)
        points = rng.uniform(0, size, 2) + step * np.cumsum(
            np.stack([np.cos(angle), np.sin(angle)], 1), 0)
        cv2.polylines(canvas, [np.int32(points * 16)], False,
                      int(rng.integers(60, 256)), int(2**rng.uniform(0, 3.3)),
                      cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw noise that is thresholded, with a hard or soft edge."""
    field = noise(rng, size)
    sharpness = 2.0**rng.uniform(2, 8)
    level = np.quantile(field[::4, ::4], rng.uniform(0.2, 0.8))
    return 0.5 + 0.5 * np.tanh(sharpness * (field - np.float32(level)))


def gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a linear or radial gradient."""
    if rng.random() < 0.5:
        return spread(ramp(rng, size))
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    center = rng.uniform(0, 1, 2)
    return spread(np.hypot(x - center[0], y - center[1]))


FIELDS = (noise, noise, stripes, weave, cells, dots, shapes, strokes, blobs,
          gradient)


def ramp(rng: np.random.Generator,
         size: int,
         angle: float | None = None) -> np.ndarray:
    """Compute the coordinate along a direction, in units of the side."""
    angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    return np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y


def spread(field: np.ndarray) -> np.ndarray:
    """Scale a field linearly to the range from 0 to 1."""
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-6)


def paint(rng: np.random.Generator, size: int) -> np.ndarray:
    """Color a random field with a random palette.

    Returns:
        np.ndarray: RGB ``(size, size, 3)`` in [0, 1].
    """
    field = FIELDS[rng.integers(len(FIELDS))](rng, size)
    count = rng.integers(2, 5)
    base = rng.random(3)
    colors = base + rng.uniform(0.05, 0.8) * (rng.random((count, 3)) - base)
    if rng.random() < 0.3:
        colors[:] = colors.mean(1, keepdims=True)
    table = np.stack([
        np.interp(np.linspace(0, count - 1, 256), np.arange(count), channel)
        for channel in colors.T
    ], 1)
    return table.astype(np.float32)[np.uint8(field * 255)]


def random_image(rng: np.random.Generator, size: int) -> np.ndarray:
    """Compose a random image of several fields.

    Returns:
        np.ndarray: RGB ``(size, size, 3)`` in [0, 1], float32.
    """
    image = paint(rng, size)
    for _ in range(rng.integers(0, 4)):
        layer = paint(rng, size)
        mask = FIELDS[rng.integers(len(FIELDS))](rng, size)
        if rng.random() < 0.5:
            mask = (mask > rng.uniform(0.2, 0.8)).astype(np.float32)
        if rng.random() < 0.3:
            mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 3))
        image += (rng.uniform(0.3, 1) * mask)[..., None] * (layer - image)
    if rng.random() < 0.5:
        light = rng.uniform(0.1, 0.7) * (gradient(rng, size) - 0.5)
        image *= 1 + light[..., None]
    if rng.random() < 0.5:
        gray = image.mean()
        image = gray + 2.0**rng.uniform(-2, 1) * (image - gray)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), 2.0**rng.uniform(-1, 1.3))
    if rng.random() < 0.5:
        sigma = 0.08 * rng.uniform(0, 1)**2
        image = image + sigma * rng.standard_normal(
            image.shape, dtype=np.float32)
    return np.clip(image, 0, 1)
