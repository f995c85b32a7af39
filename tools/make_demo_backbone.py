"""Make the weights that ship with ``DemoBackbone``.

Distils the first three stages of an ImageNet ResNet-18 into the narrow
network, on generated images only: no image data set is needed::

    python tools/make_demo_backbone.py --teacher IMAGENET1K_V1

Linear (1x1) heads, dropped afterwards, map each stage of the student to the
teacher's stage of the same name; the loss is the squared error in units of
the teacher's standard deviation per channel.
"""
import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmad.models.backbones import demo_backbone
from mmad.models.backbones.base import FrozenBackbone
from mmad.models.backbones.demo_backbone import DemoBackbone
from mmad.models.backbones.torchvision_backbone import TorchvisionBackbone

STAGES = ('layer1', 'layer2', 'layer3')
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--teacher',
        default='IMAGENET1K_V1',
        help='torchvision weights name of ResNet-18, or a local file')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path(demo_backbone.__file__).with_suffix('.pth'),
        help='file to write (default: the one in the package)')
    parser.add_argument('--steps', type=int, default=2400)
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--size', type=int, default=128, help='pixels')
    parser.add_argument('--lr', type=float, default=2e-3)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


# Fields: arrays (size, size) in [0, 1] from which images are composed.


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise of several octaves, often stretched along one axis."""
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
    """Warped periodic lines with a smooth, hard or sawtooth profile."""
    phase = rng.uniform(1.5, size / 4) * ramp(rng, size)
    phase += rng.uniform(0, 1.5) * noise(rng, size)
    profile = rng.integers(3)
    if profile == 0:
        return 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    if profile == 1:
        return ((phase % 1) < rng.uniform(0.1, 0.9)).astype(np.float32)
    return phase % 1


def weave(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two families of threads that pass over and under each other."""
    count = rng.uniform(3, size / 6)
    angle = rng.uniform(0, np.pi)
    along = count * ramp(rng, size, angle)
    across = count * ramp(rng, size, angle + np.pi / 2)
    over = ((np.floor(along) + np.floor(across)) % 2).astype(np.float32)
    first = np.abs(np.sin(np.pi * along))
    second = np.abs(np.sin(np.pi * across))
    return over * first + (1 - over) * second * rng.uniform(0.3, 1)


def cells(rng: np.random.Generator, size: int) -> np.ndarray:
    """Voronoi cells: flat, by distance to the seed, or their walls."""
    canvas = np.ones((size, size), np.uint8)
    count = int(2**rng.uniform(2, 9))
    canvas[tuple(rng.integers(0, size, (2, count)))] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    kind = rng.integers(3)
    if kind == 0:
        return rng.random(count + 1, dtype=np.float32)[labels]
    if kind == 1:
        return spread(distance)
    shade = labels.astype(np.float32)
    walls = cv2.morphologyEx(shade, cv2.MORPH_GRADIENT, np.ones((3, 3)))
    return (walls > 0).astype(np.float32)


def dots(rng: np.random.Generator, size: int) -> np.ndarray:
    """Discs or rings on a jittered, turned grid."""
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
    """Overlapping polygons, ellipses and rectangles of different gray."""
    canvas = np.full((size, size), int(rng.integers(256)), np.uint8)
    for _ in range(rng.integers(1, 12)):
        gray = int(rng.integers(256))
        center = rng.uniform(0, size, 2)
        radius = size * 2.0**rng.uniform(-4.5, -1)
        kind = rng.integers(3)
        if kind == 0:
            axes = np.maximum(1, radius * rng.uniform(0.3, 1, 2)).astype(int)
            cv2.ellipse(canvas, tuple(int(c) for c in center),
                        tuple(int(a) for a in axes), rng.uniform(0, 180), 0,
                        360, gray, int(rng.choice([-1, -1, 1, 3])),
                        cv2.LINE_AA)
            continue
        corners = 4 if kind == 1 else int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        if kind == 1:
            half = rng.uniform(0.2, np.pi / 2 - 0.2)
            angles = rng.uniform(0, np.pi) + np.array(
                [-half, half, np.pi - half, np.pi + half])
        points = center + radius * np.stack(
            [np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(canvas, [np.int32(points * 16)], gray, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def strokes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Curved and straight lines of varied width."""
    canvas = np.zeros((size, size), np.uint8)
    wander = rng.uniform(0, 0.5)
    for _ in range(rng.integers(1, 30)):
        angle = rng.uniform(0, 2 * np.pi)
        angle = angle + wander * np.cumsum(rng.standard_normal(12))
        step = size * rng.uniform(0.01, 0.12)
        points = rng.uniform(0, size, 2) + step * np.cumsum(
            np.stack([np.cos(angle), np.sin(angle)], 1), 0)
        cv2.polylines(canvas, [np.int32(points * 16)], False,
                      int(rng.integers(60, 256)),
                      int(2**rng.uniform(0, 3.3)), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise cut at a level, with a hard or soft rim."""
    field = noise(rng, size)
    sharpness = 2.0**rng.uniform(2, 8)
    level = np.quantile(field[::4, ::4], rng.uniform(0.2, 0.8))
    return 0.5 + 0.5 * np.tanh(sharpness * (field - np.float32(level)))


def gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """A linear or radial ramp."""
    if rng.random() < 0.5:
        return spread(ramp(rng, size))
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    center = rng.uniform(0, 1, 2)
    return spread(np.hypot(x - center[0], y - center[1]))


FIELDS = (noise, noise, stripes, weave, cells, dots, shapes, strokes, blobs,
          gradient)


def ramp(rng: np.random.Generator, size: int,
         angle: float | None = None) -> np.ndarray:
    """Coordinate along a direction, in units of the image's side."""
    angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    return np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y


def spread(field: np.ndarray) -> np.ndarray:
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-6)


def paint(rng: np.random.Generator, size: int) -> np.ndarray:
    """Color a field by a random palette.

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


def image(rng: np.random.Generator, size: int) -> np.ndarray:
    """Compose a random image.

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


def batch(seed: list[int], count: int, size: int) -> Tensor:
    """Draw normalized images ``(count, 3, size, size)``."""
    rng = np.random.default_rng(seed)
    images = np.stack([image(rng, size) for _ in range(count)])
    images = (images - MEAN) / STD
    return torch.from_numpy(images).permute(0, 3, 1, 2)


class Target(nn.Module):
    """The teacher's maps in units of their standard deviation."""

    def __init__(self, teacher: FrozenBackbone, sample: Tensor) -> None:
        super().__init__()
        self.teacher = teacher
        with torch.no_grad():
            maps = teacher(sample)
        self.moments = [(m.mean((0, 2, 3), keepdim=True),
                         m.std((0, 2, 3), keepdim=True) + 1e-3) for m in maps]

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        return [(m - mean) / std for m, (mean, std) in zip(
            self.teacher(images), self.moments, strict=True)]


@torch.no_grad()
def explained_variance(student: DemoBackbone, heads: nn.ModuleList,
                       target: Target, images: Tensor) -> list[float]:
    """Share of the teacher's variance that the heads predict, per stage.

    The mean over channels of 1 - (squared error) / (variance) on ``images``.
    """
    shares = []
    for head, found, wanted in zip(
            heads, student(images), target(images), strict=True):
        error = (head(found) - wanted).square().mean((0, 2, 3))
        variance = wanted.var((0, 2, 3)).clamp_min(1e-6)
        shares.append((1 - error / variance).mean().item())
    return shares


def save(student: DemoBackbone, path: Path) -> None:
    """Write the weights in half precision, whole or not at all."""
    state = {
        name: tensor.half()
        for name, tensor in student.body.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        torch.save(state, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    args = parse_args()
    torch.manual_seed(args.seed)
    target = Target(
        TorchvisionBackbone('resnet18', STAGES, args.teacher),
        batch([args.seed, 0], 256, args.size))
    held_out = batch([args.seed, 1], 256, args.size)

    student = DemoBackbone(STAGES, weights=None)
    student.body.requires_grad_(True)
    for network in (student, target):  # a fifth faster on CPUs
        network.to(memory_format=torch.channels_last)
    heads = nn.ModuleList(
        nn.Conv2d(found.shape[1], wanted.shape[1], 1) for found, wanted in zip(
            student(held_out[:1]), target(held_out[:1]), strict=True))
    parameters = [*student.body.parameters(), *heads.parameters()]
    optimizer = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.steps, pct_start=0.1)

    start = time.monotonic()
    for step in range(1, args.steps + 1):
        images = batch([args.seed, 2, step], args.batch_size, args.size)
        student.body.train()
        loss = sum(
            nn.functional.mse_loss(head(found), wanted)
            for head, found, wanted in zip(
                heads, student(images), target(images), strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(1, args.steps // 10) == 0 or step == args.steps:
            student.eval()
            shares = explained_variance(student, heads, target, held_out)
            shown = ', '.join(f'{name} {share:.3f}'
                              for name, share in zip(STAGES, shares))
            print(
                f'step {step}/{args.steps}, {time.monotonic() - start:.0f} s, '
                f'loss {loss.item():.3f}; held-out explained variance: '
                f'{shown}',
                flush=True)
    save(student.eval(), args.out)
    print(f'wrote {args.out} ({args.out.stat().st_size / 2**20:.2f} MiB)')


if __name__ == '__main__':
    main()
