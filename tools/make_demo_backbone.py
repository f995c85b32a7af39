"""Train the weights that are shipped with ``DemoBackbone``.

The first three stages of an ImageNet ResNet-18 are distilled into a narrow
network, on generated images, so that no image data set is needed::

    python tools/make_demo_backbone.py --teacher IMAGENET1K_V1

Linear heads (1 x 1 convolutions) map each stage of the student to the stage of
the teacher with the same name, and are discarded afterwards. The loss is the
squared error, in units of the standard deviation of each channel of the
teacher.
"""
import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from random_textures import random_image
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


def batch(seed: list[int], count: int, size: int) -> Tensor:
    """Draw normalized images ``(count, 3, size, size)``."""
    rng = np.random.default_rng(seed)
    images = np.stack([random_image(rng, size) for _ in range(count)])
    images = (images - MEAN) / STD
    return torch.from_numpy(images).permute(0, 3, 1, 2)


class Target(nn.Module):
    """The feature maps of the teacher, with each channel standardized."""

    def __init__(self, teacher: FrozenBackbone, sample: Tensor) -> None:
        super().__init__()
        self.teacher = teacher
        with torch.no_grad():
            maps = teacher(sample)
        self.moments = [(m.mean(
            (0, 2, 3), keepdim=True), m.std((0, 2, 3), keepdim=True) + 1e-3)
                        for m in maps]

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        return [(m - mean) / std for m, (
            mean, std) in zip(self.teacher(images), self.moments, strict=True)]


@torch.no_grad()
def explained_variance(student: DemoBackbone, heads: nn.ModuleList,
                       target: Target, images: Tensor) -> list[float]:
    """Compute the share of the variance of the teacher that is predicted.

    Returns:
        list[float]: For each stage, the mean over the channels of
        ``1 - squared error / variance``.
    """
    shares = []
    for head, found, wanted in zip(
            heads, student(images), target(images), strict=True):
        error = (head(found) - wanted).square().mean((0, 2, 3))
        variance = wanted.var((0, 2, 3)).clamp_min(1e-6)
        shares.append((1 - error / variance).mean().item())
    return shares


def save(student: DemoBackbone, path: Path) -> None:
    """Write the weights in half precision, as a whole or not at all."""
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
