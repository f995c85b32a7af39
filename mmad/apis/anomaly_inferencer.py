import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmad.errors import InputError
from mmad.structures import AnomalyDataSample

from .image_pipeline import ImagePipeline, find_pipeline
from .images import OneImage, describe_image, find_images
from .model import init_model, summarize_error


class AnomalyInferencer:
    """Score images with a fitted detector.

    Images go through the test pipeline of the config, so the scores are the
    same as those of ``tools/test.py``.

    Args:
        checkpoint (str | Path): Checkpoint written by ``tools/train.py``.
        config (str | Path | Config, optional): Config, or path of a config
            file. A config file is Python code, so it must be trusted.
            Defaults to None: the config in the checkpoint, which is read as
            data and may only name classes of mmad.
        device (str | torch.device, optional): Device of the model. Defaults
            to None: CUDA if it is available.
        modules (str | Sequence[str]): Names of modules that define parts of
            your own, such as ``'my_package.detectors'``. They are imported,
            and the config in the checkpoint may name the classes that they
            register. Defaults to none.

    Raises:
        InputError: If the checkpoint, the config or the device cannot be
            used.

    Examples:
        >>> inferencer = AnomalyInferencer('work_dirs/demo/epoch_1.pth')
        >>> sample, = inferencer('part.png')
        >>> float(sample.pred_score), sample.pred_map.shape
        >>> sample.original_map()  # at the size of part.png
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: str | Path | Config | None = None,
        device: str | torch.device | None = None,
        modules: str | Sequence[str] = ()
    ) -> None:
        self._stored_in = str(checkpoint) if config is None else None
        self.model = init_model(checkpoint, config, device, modules)
        steps = find_pipeline(self.model.cfg, f'of "{checkpoint}"')
        if steps is None:
            raise InputError(
                f'the config of "{checkpoint}" has no test pipeline '
                '(`test_dataloader.dataset.pipeline`); give a config that has '
                'one with `config=`.')
        with DefaultScope.overwrite_default_scope('mmad'):
            self._pipeline = ImagePipeline(steps)

    def __call__(self,
                 images: OneImage | Iterable[OneImage],
                 batch_size: int = 8) -> list[AnomalyDataSample]:
        """Score images.

        Args:
            images: A file, a folder, an ``(H, W, 3)`` uint8 BGR array, a PIL
                image, or several images as a sequence or an iterator.
            batch_size (int): Maximum number of images per forward pass. The
                last bits of a score may depend on it. Defaults to 8.

        Returns:
            list[AnomalyDataSample]: One sample per image, in the given order,
            with ``pred_score`` and ``pred_map``, on the CPU. Use
            :meth:`~mmad.structures.AnomalyDataSample.original_map` for the
            map at the size of the original image.

        Raises:
            InputError: If an image cannot be read, a folder contains no
                images, the images have different sizes after the pipeline, or
                ``batch_size`` is not a positive integer.
        """
        return list(self.stream(images, batch_size))

    def stream(self,
               images: OneImage | Iterable[OneImage],
               batch_size: int = 8) -> Iterator[AnomalyDataSample]:
        """Score images one after the other, for sets larger than the memory.

        Only the images of the next batch are read, or taken from an iterator.
        The arguments and errors are those of :meth:`__call__`.
        """
        # Check the arguments here, since a generator would do so only when
        # its first element is requested.
        return self._stream(find_images(images), _check_size(batch_size))

    def _stream(self, images: Iterable[OneImage],
                batch_size: int) -> Iterator[AnomalyDataSample]:
        batch = []
        for number, image in enumerate(images):
            batch.append(self._prepare(image, number))
            if len(batch) == batch_size:
                yield from self._score(batch)
                batch = []
        if batch:
            yield from self._score(batch)

    @torch.no_grad()
    def _score(self, batch: list[dict]) -> list[AnomalyDataSample]:
        with self._explain_errors():
            samples = self.model.test_step(pseudo_collate(batch))
            return [sample.cpu() for sample in samples]

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Raise an :class:`InputError` for errors of a stored config."""
        try:
            yield
        except InputError:
            raise
        # The config of an untrusted checkpoint can cause any error anywhere.
        # The traceback is kept as the cause.
        except Exception as error:
            if self._stored_in is None:
                raise
            raise InputError(
                f'images cannot be scored with the model and the test '
                f'pipeline in checkpoint "{self._stored_in}" '
                f'({summarize_error(error)}); give the config file with '
                '`config=`.') from error

    def _prepare(self, image: OneImage, number: int) -> dict:
        results = describe_image(image, number)
        try:
            with self._explain_errors():
                return self._pipeline(results)
        except InputError as error:
            if 'img_path' in results:
                raise
            # The message of the step has no path, so add the number.
            raise InputError(f'image number {number}: {error}') from error


def _check_size(batch_size: int) -> int:
    try:
        size = operator.index(batch_size)
    except TypeError:
        size = 0
    if size < 1 or isinstance(batch_size, bool):
        raise InputError('`batch_size` must be a positive integer, got '
                         f'{batch_size!r}.')
    return size
