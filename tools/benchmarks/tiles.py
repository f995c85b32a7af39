"""Measure what tiles do for a small defect on large pictures.

Pictures of brushed metal are drawn, one of them with a short scratch. For
each way to look at them, PatchCore is fitted and then predicts, each in a
process of its own, whose peak memory is shown. ``reduced`` resizes the
pictures to 256 x 256 pixels, ``whole`` takes them as they are, and
``tiled`` as well, tile by tile.
"""
import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mmad.models import PatchCore
from mmad.structures import AnomalyDataSample
from mmad.utils.command_line import one_sentence_errors

WAYS = ('reduced', 'whole', 'tiled')
_MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
_STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


def draw(seed: int, width: int, height: int,
         scratch: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Draw a picture of brushed metal and the center of its scratch.

    Args:
        seed (int): Of the picture.
        width (int): In pixels.
        height (int): In pixels.
        scratch (int, optional): Its length in pixels; None for none.

    Returns:
        tuple[np.ndarray, tuple[int, int]]: Picture ``(H, W)`` uint8; row and
        column.
    """
    rng = np.random.default_rng(seed)
    picture = np.full((height, width), rng.uniform(140, 150), np.float32)
    for strength, along, across in ((8, 15, 0.7), (5, 3, 3), (5, 60, 60)):
        noise = rng.standard_normal((height // 2, width // 2), np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), along / 2, sigmaY=across / 2)
        noise = cv2.resize(noise, (width, height))
        picture += strength / noise.std() * noise
    picture += 2 * rng.standard_normal(picture.shape, np.float32)
    place = rng.uniform(0.1, 0.9, 2) * (height, width)
    if scratch is not None:
        angle = rng.uniform(0.3, np.pi - 0.3)
        step = scratch / 2 * np.array([np.sin(angle), np.cos(angle)])
        ends = [(16 * (place + sign * step)[::-1]).astype(int).tolist()
                for sign in (-1, 1)]
        line = np.zeros(picture.shape, np.uint8)
        cv2.line(line, *ends, 1, 2, cv2.LINE_AA, 4)
        picture[line > 0] += 45
    return picture.clip(0, 255).astype(np.uint8), tuple(place.astype(int))


def load(way: str, file: Path) -> Tensor:
    """Read a picture as a detector takes it, ``(1, 3, H, W)``."""
    gray = np.load(file)
    if way == 'reduced':
        gray = cv2.resize(gray, (256, 256), interpolation=cv2.INTER_AREA)
    picture = torch.from_numpy(gray).expand(3, -1, -1)
    return ((picture - _MEAN) / _STD)[None]


def build(way: str, args: argparse.Namespace) -> PatchCore:
    backbone: dict = dict(type='DemoBackbone')
    if args.weights is not None:
        backbone = dict(
            type='TorchvisionBackbone',
            name='resnet18',
            stages=['layer2', 'layer3'],
            weights=args.weights)
    if way == 'tiled':
        backbone['tiles'] = dict(
            size=args.tile_size,
            overlap=args.overlap,
            blending=args.blending,
            batch_size=args.tiles_at_a_time)
    return PatchCore(
        backbone, coreset_ratio=0.1, memory_budget=args.memory_budget).eval()


@torch.no_grad()
def fit(way: str, args: argparse.Namespace, folder: Path) -> dict:
    model = build(way, args)
    start = time.perf_counter()
    files = sorted(folder.glob('fit_*.npy'))
    model.begin_fit(len(files), 1)
    for number, file in enumerate(files):
        sample = AnomalyDataSample(metainfo=dict(sample_idx=number))
        model.train_step(dict(inputs=load(way, file), data_samples=[sample]))
    collected = time.perf_counter()
    model.end_pass()
    torch.save(model.state_dict(), folder / 'state.pth')
    return dict(
        collect=(collected - start) / len(files),
        select=time.perf_counter() - collected,
        rows=len(model.memory_bank))


@torch.no_grad()
def predict(way: str, args: argparse.Namespace, folder: Path) -> dict:
    model = build(way, args)
    state = torch.load(folder / 'state.pth', weights_only=True)
    model.load_state_dict(state)
    seconds, scores = [], []
    for file in sorted(folder.glob('good_*.npy')):
        sample, spent = _predict_one(model, load(way, file))
        seconds.append(spent)
        scores.append(float(sample.pred_score))
    sample, spent = _predict_one(model, load(way, folder / 'bad.npy'))
    found = sample.pred_map
    largest = np.unravel_index(int(found.argmax()), found.shape)
    scale = np.array([args.height, args.width]) / found.shape
    offset = (np.array(largest) + 0.5) * scale - np.load(folder / 'place.npy')
    return dict(
        predict=min(*seconds, spent),
        score=float(sample.pred_score),
        good=max(scores),
        offset=float(np.linalg.norm(offset)))


def _predict_one(model: PatchCore,
                 inputs: Tensor) -> tuple[AnomalyDataSample, float]:
    start = time.perf_counter()
    sample = model.predict(inputs)[0]
    return sample, time.perf_counter() - start


def draw_all(args: argparse.Namespace, folder: Path) -> None:
    names = [f'fit_{i:03}' for i in range(args.pictures)]
    names += [f'good_{i:03}' for i in range(args.good)]
    for seed, name in enumerate([*names, 'bad']):
        scratch = args.scratch if name == 'bad' else None
        picture, place = draw(seed, args.width, args.height, scratch)
        np.save(folder / f'{name}.npy', picture)
    np.save(folder / 'place.npy', np.array(place))


def run_alone(task: str, way: str, folder: str) -> dict:
    """Run a task in a process of its own and add its peak memory in MB."""
    command = [
        sys.executable, __file__, *sys.argv[1:], '--task', task, way, folder
    ]
    out = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=WAYS)
    parser.add_argument('--width', type=int, default=4000)
    parser.add_argument('--height', type=int, default=3000)
    parser.add_argument('--scratch', type=int, default=20)
    parser.add_argument('--pictures', type=int, default=6, help='for the fit')
    parser.add_argument('--good', type=int, default=3, help='for the test')
    parser.add_argument('--tile-size', type=int, default=512)
    parser.add_argument('--overlap', type=int, default=128)
    parser.add_argument('--blending', default='center')
    parser.add_argument('--tiles-at-a-time', type=int, default=4)
    parser.add_argument('--memory-budget', type=int, default=250_000_000)
    parser.add_argument(
        '--weights', help='of ResNet-18; else the demo network')
    parser.add_argument('--task', nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task is not None:
        task, way, folder = args.task
        found = dict(fit=fit, predict=predict)[task](way, args, Path(folder))
        # In units of 1024 bytes on Linux.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(dict(found, memory=peak)))
        return
    print(
        f'{args.width} x {args.height} pixels, scratch of {args.scratch}, '
        f'{args.pictures} pictures fitted, {torch.get_num_threads()} threads')
    print(
        f'{"":8}{"fit MB":>8}{"s/pict.":>9}{"select s":>9}{"rows":>8}'
        f'{"test MB":>9}{"s/pict.":>9}{"scratch":>9}{"good":>9}{"off px":>8}')
    with tempfile.TemporaryDirectory() as folder:
        draw_all(args, Path(folder))
        for way in args.ways:
            a, b = (
                run_alone(task, way, folder) for task in ('fit', 'predict'))
            print(
                f'{way:8}{a["memory"]:8.0f}{a["collect"]:9.1f}'
                f'{a["select"]:9.1f}{a["rows"]:8}{b["memory"]:9.0f}'
                f'{b["predict"]:9.1f}{b["score"]:9.3f}{b["good"]:9.3f}'
                f'{b["offset"]:8.0f}',
                flush=True)


if __name__ == '__main__':
    main()
