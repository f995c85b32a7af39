from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate

from mmad.datasets.files import list_images
from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.structures import AnomalyDataSample

from .model import init_model

Image = str | Path | np.ndarray


class AnomalyInferencer:
    """Scores pictures with a fitted detector.

    Args:
        checkpoint (str | Path): Written by ``tools/train.py``.
        config (str, optional): Defaults to None: the one in the checkpoint.
        device (str, optional): Defaults to None: CUDA if there is any.

    Examples:
        >>> inferencer = AnomalyInferencer('work_dirs/demo/epoch_1.pth')
        >>> sample, = inferencer('part.png')
        >>> float(sample.pred_score), sample.pred_map.shape
    """

    def __init__(self,
                 checkpoint: str | Path,
                 config: str | None = None,
                 device: str | None = None) -> None:
        self.model = init_model(checkpoint, config, device)
        steps = [
            step for step in self.model.cfg.test_dataloader.dataset.pipeline
            if step['type'] != 'LoadMask'
        ]
        self._load = TRANSFORMS.build(steps[0])
        self._transform = Compose([TRANSFORMS.build(s) for s in steps[1:]])

    def __call__(self,
                 images: Image | Sequence[Image],
                 batch_size: int = 8) -> list[AnomalyDataSample]:
        """Score images.

        Args:
            images: A file, a folder, an ``(H, W, 3)`` uint8 BGR array, or a
                sequence of files and arrays.
            batch_size (int): Images per forward pass. Defaults to 8.

        Returns:
            list[AnomalyDataSample]: In the order given, with ``pred_score``
            and ``pred_map``, on the CPU.

        Raises:
            InputError: An image cannot be read or a folder has none.
        """
        return list(self.stream(images, batch_size))

    @torch.no_grad()
    def stream(self,
               images: Image | Sequence[Image],
               batch_size: int = 8) -> Iterator[AnomalyDataSample]:
        """Like calling, but one by one, for sets that exceed the memory."""
        images = _as_list(images)
        for start in range(0, len(images), batch_size):
            batch = pseudo_collate([
                self._prepare(image)
                for image in images[start:start + batch_size]
            ])
            for sample in self.model.test_step(batch):
                yield sample.cpu()

    def _prepare(self, image: Image) -> dict:
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or (image.dtype
                                                          != np.uint8):
                raise InputError(
                    'an image array must be (H, W, 3) uint8 in BGR order, '
                    f'got {image.shape} {image.dtype}.')
            results = dict(
                img=image,
                img_shape=image.shape[:2],
                ori_shape=image.shape[:2])
        else:
            results = self._load(dict(img_path=str(image)))
        return self._transform(results)


def _as_list(images: Image | Sequence[Image]) -> list[Image]:
    if isinstance(images, np.ndarray):
        return [images]
    if isinstance(images, str | Path):
        if not Path(images).is_dir():
            return [images]
        found = list_images(images, recursive=True)
        if not found:
            raise InputError(f'the folder "{images}" holds no images.')
        return found
    return list(images)
