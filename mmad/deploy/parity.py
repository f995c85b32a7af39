"""Compare an exported model with the detector that it was made of."""
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose, LoadImageFromFile, Resize
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmad.apis.image_pipeline import ImagePipeline, require_pipeline
from mmad.apis.images import describe_image, find_images
from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.structures import AnomalyDataSample
from mmad.utils.progress import show_progress

from .formats import Graph
from .image_input import ImageInput

# Largest difference, relative to the score or to the maximum of the map. Those
# of detectors that combine others may be zero; theirs is relative to one
# standard deviation of normal images, at least.
LIMIT = 1e-4
_NUMBER = 4  # random images
_TINY = 1e-38

# An image (H, W, 3) in BGR as a graph takes it, and what a pipeline makes of
# the same image.
Pair = tuple[np.ndarray, dict]


class Parity:
    """The largest differences between an exported model and its detector.

    Args:
        detector (BaseDetector): What the model was made of.
        graph (Graph): The exported model.
        color_order (str): Of the images that it takes.
        batch_size (int, optional): The only one that it takes. Defaults to
            None: any.

    Attributes:
        images (int): How many were compared.
        labels (int): How many of them had labels, which were all equal.
        differences (dict[str, float]): The largest relative difference by
            output.
    """

    def __init__(self, detector: BaseDetector, graph: Graph, color_order: str,
                 batch_size: int | None) -> None:
        self.detector = detector
        self.graph = graph
        self.color_order = color_order
        self.batch_size = batch_size
        self.images = self.labels = 0
        self._least = 1.0 if detector.combined else _TINY
        self.differences: dict[str, float] = {}

    def check(self, pairs: Iterable[Pair]) -> None:
        """Compare them on some images.

        Raises:
            InputError: They differ.
        """
        batch: list[Pair] = []
        # An open batch is checked with one image and with several.
        wanted = self.batch_size or 1
        for pair in pairs:
            batch.append(pair)
            if len(batch) == wanted:
                self._check_batch(batch)
                batch, wanted = [], self.batch_size or _NUMBER - 1
        if batch:
            self._check_batch(batch)

    def _check_batch(self, batch: Sequence[Pair]) -> None:
        images = np.stack([image for image, _ in batch])
        if self.color_order == 'rgb':
            images = images[..., ::-1]
        filling = (self.batch_size or len(batch)) - len(batch)
        images = np.concatenate([images, images[:1].repeat(filling, 0)])
        found = self.graph(np.ascontiguousarray(images))
        with torch.no_grad():
            samples = self.detector.test_step(
                pseudo_collate([packed for _, packed in batch]))
        for i, sample in enumerate(samples):
            self._compare(sample, {
                name: value[i]
                for name, value in found.items()
            })

    def _compare(self, sample: AnomalyDataSample,
                 found: Mapping[str, np.ndarray]) -> None:
        self.images += 1
        score = float(sample.pred_score)
        self._note('score', found['score'] - score, score)
        expected_map = sample.pred_map.numpy()
        if 'anomaly_map' in found:
            self._note('anomaly_map', found['anomaly_map'] - expected_map,
                       expected_map)
        decision = self.detector.decision
        if not decision.is_fitted:
            return
        self.labels += 1
        image_threshold, pixel_threshold = decision.thresholds.tolist()
        self._decide('label', found['label'], sample.pred_label.numpy(), score,
                     image_threshold)
        if 'mask' in found:
            self._decide('mask', found['mask'], sample.pred_mask.numpy(),
                         expected_map, pixel_threshold)
        own = decision.p_values(torch.tensor([float(found['score'])]))
        self._note('p_value', found['p_value'] - own.numpy(), 1)

    def _note(self, name: str, difference, expected) -> None:
        relative = float(np.abs(difference).max()) / self._scale(expected)
        self.differences[name] = max(self.differences.get(name, 0), relative)
        # Not finite counts as different.
        if not relative <= LIMIT:
            self._refuse(f'`{name}` is off by {relative:.1e}, relative')

    def _decide(self, name: str, found, expected, values,
                threshold: float) -> None:
        # At the threshold itself, rounding may decide.
        near = np.abs(values - threshold) <= LIMIT * self._scale(values)
        if ((found != expected) & ~near).any():
            self._refuse(f'`{name}` is another')

    def _scale(self, values) -> float:
        return max(float(np.abs(values).max()), self._least)

    def _refuse(self, what: str) -> None:
        raise InputError(
            f'the exported model differs from the checkpoint: {what} on image '
            f'number {self.images}, where {LIMIT:g} is allowed; nothing was '
            'written. Use another --format.')


def random_images(image_input: ImageInput) -> Iterator[Pair]:
    """Draw images for :meth:`Parity.check`: smooth ones and noise."""
    generator = np.random.default_rng(0)
    for number in range(_NUMBER):
        side = 2**(2 * number + 1)
        coarse = generator.integers(0, 256, (3, 1, side, side), np.uint8)
        smooth = torch.nn.functional.interpolate(
            torch.from_numpy(coarse).float(),
            image_input.size,
            mode='bilinear')
        image = smooth[:, 0].permute(1, 2, 0).round().byte().numpy()
        cropped = torch.from_numpy(image[image_input.crop]).permute(2, 0, 1)
        yield image, dict(inputs=cropped, data_samples=AnomalyDataSample())


def images_of(folder: str, detector: BaseDetector) -> Iterator[Pair]:
    """Read the images in a folder for :meth:`Parity.check`.

    Raises:
        InputError: It holds no images, or one cannot be read.
    """
    steps = require_pipeline(detector.cfg, 'of the checkpoint')
    with DefaultScope.overwrite_default_scope('mmad'):
        pipeline = ImagePipeline(steps)
        outside = [
            step for step in Compose(steps).transforms
            if isinstance(step, LoadImageFromFile | Resize)
        ]
        if not any(isinstance(step, LoadImageFromFile) for step in outside):
            outside = [dict(type='LoadImage'), *outside]
        before = Compose(outside)
    paths: Any = find_images(folder)
    for number, path in enumerate(show_progress(paths, 'Comparing')):
        image = before(describe_image(path, number))['img']
        yield image, pipeline(describe_image(path, number))
