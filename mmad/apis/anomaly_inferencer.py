from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.registry import DefaultScope
from rich import get_console

from mmad.models import BaseDetector
from mmad.registry import INFERENCERS
from mmad.structures import AnomalyDataSample
from mmad.utils import check_number
from mmad.utils.progress import show_progress as show_bar
from mmad.visualization import AnomalyVisualizer

from .image_pipeline import ImagePipeline, require_pipeline
from .images import (
    Inputs,
    OneImage,
    count_images,
    find_images,
    find_roots,
    frames_of,
)
from .model import init_model
from .model_list import list_models
from .prediction_writer import PredictionWriter, is_placed
from .prepared_image import PreparedImage, prepare_batches, score_batch
from .record import judge, make_record
from .stored_config import explain_errors
from .video import Video

Scored = tuple[AnomalyDataSample, np.ndarray | None]


@INFERENCERS.register_module()
class AnomalyInferencer(BaseInferencer):
    """Score images with a fitted detector, and judge them at its thresholds.

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
        show_progress (bool): Show a bar on a terminal during a call. Defaults
            to True.

    Raises:
        InputError: If the checkpoint, the config or the device cannot be
            used, or the detector is not fitted.

    Examples:
        >>> inferencer = AnomalyInferencer('work_dirs/demo/epoch_1.pth')
        >>> sample, = inferencer('part.png')
        >>> float(sample.pred_score), sample.pred_map.shape
        >>> sample.original_map()  # at the size of part.png
        >>> inferencer('parts', out_dir='out', strict=False)
    """

    model: BaseDetector

    def __init__(self,
                 checkpoint: str | Path,
                 config: str | Path | Config | None = None,
                 device: str | torch.device | None = None,
                 modules: str | Sequence[str] = (),
                 show_progress: bool = True) -> None:
        self._checkpoint = str(checkpoint)
        self._stored_in = self._checkpoint if config is None else None
        self._thresholds: tuple[float, float | None] | None = None
        self.model = init_model(checkpoint, config, device, modules)
        self.model.require_fitted()
        # The base class would read the checkpoint without these checks, so it
        # gets what there is, and `_init_model` gives it the model.
        super().__init__(
            self.model.cfg,
            self._checkpoint,
            device=next(self.model.buffers()).device,
            scope='mmad',
            show_progress=show_progress)

    def __call__(  # type: ignore[override]
            self,
            inputs: Inputs,
            batch_size: int = 8,
            return_vis: bool = False,
            show: bool = False,
            wait_time: float = 0,
            out_dir: str | Path | None = None,
            return_datasamples: bool = True,
            strict: bool = True) -> Any:
        """Score images.

        Args:
            inputs: A file; a folder; a pattern such as ``'parts/*.png'``; an
                ``(H, W, 3)`` uint8 BGR or ``(H, W)`` uint8 gray array; a PIL
                image; several of these as a sequence or an iterator; or a
                video file, or the address or the index of a camera.
            batch_size (int): Maximum number of images per forward pass. The
                last bits of a score may depend on it. Defaults to 8.
            return_vis (bool): Also return drawings. Defaults to False.
            show (bool): Show each image in a window. Defaults to False.
            wait_time (float): How many seconds each is shown; 0 shows it until
                a key is pressed. Defaults to 0.
            out_dir (str | Path, optional): Folder for the files of
                :class:`~mmad.apis.PredictionWriter`. Defaults to None: none
                are written.
            return_datasamples (bool): Return samples rather than plain dicts.
                Defaults to True.
            strict (bool): Raise an error at the first image that cannot be
                scored. Otherwise its sample has only ``error``, a sentence,
                and the other images are scored. Defaults to True.

        Returns:
            list[AnomalyDataSample]: One sample per image, in the given order,
            on the CPU, with ``pred_score`` and ``pred_map``, and where there
            are thresholds with ``pred_label``, ``pred_mask`` and ``p_value``.
            Without ``return_datasamples``, a list of the dicts of
            :func:`~mmad.apis.make_record`. With ``return_vis``, as in other
            packages of the family, a dict of this list as ``predictions`` and
            of a list of drawings ``(H, W, 3)`` uint8 BGR as
            ``visualization``, with None for an image that cannot be drawn.

        Raises:
            InputError: If an image cannot be read, a folder contains no
                images, the images have different sizes after the pipeline, or
                ``batch_size`` is not a positive whole number.
        """
        draws = return_vis or show
        samples, drawings = [], []
        with self._open(inputs, out_dir) as writer:
            for sample, image in self._start(
                    inputs, batch_size, strict, writer, draws, bar=True):
                samples.append(sample)
                if draws:
                    drawings += self.visualize([image], [sample], show,
                                               wait_time)
        return self.postprocess(samples, drawings if return_vis else None,
                                return_datasamples)

    def stream(self,
               inputs: Inputs,
               batch_size: int = 8,
               strict: bool = True) -> Iterator[AnomalyDataSample]:
        """Score images one after the other, for sets larger than the memory.

        Only the images of the next batch are read, or taken from an iterator.
        The arguments and errors are those of :meth:`__call__`; the samples of
        the images before one that cannot be read come first. Use
        ``batch_size=1`` for a camera.
        """
        # Not a generator, which would check the arguments too late.
        scored = self._start(inputs, batch_size, strict)
        return (sample for sample, _ in scored)

    def write(self,
              inputs: Inputs,
              writer: PredictionWriter,
              batch_size: int = 8,
              strict: bool = True,
              num_workers: int = 0) -> None:
        """Score images and write the predictions to files only.

        The folder of the writer is not searched for images. ``num_workers``
        is the number of threads that read images while the model works; the
        other arguments are those of :meth:`__call__`.
        """
        for _ in self._start(
                inputs, batch_size, strict, writer, False, num_workers,
                bar=True):
            pass

    def describe(self) -> dict:
        """Return the checkpoint, the thresholds and where they come from."""
        image, pixel = self._thresholds or (None, None)
        found = dict(
            checkpoint=self._checkpoint,
            image_threshold=image,
            pixel_threshold=pixel)
        decision = self.model.decision
        if decision.is_fitted:
            found['image_threshold'], found['pixel_threshold'] = map(
                float, decision.thresholds)
            found.update(decision.conditions)
        return found

    def set_thresholds(self, image: float, pixel: float | None = None) -> None:
        """Judge at given thresholds, in place of the calibrated ones.

        Args:
            image (float): Images with a higher score are defective.
            pixel (float, optional): Pixels with a higher value are defective.
                Defaults to None: as calibrated, or no pixels are judged.
        """
        check_number('image', image)
        check_number('pixel', pixel, optional=True)
        decision = self.model.decision
        if decision.is_fitted:
            if pixel is None:
                pixel = float(decision.thresholds[1])
            decision.set_thresholds(image, pixel, 'given')
        else:
            self._thresholds = image, pixel

    def preprocess(  # type: ignore[override]
            self,
            inputs: Iterable[OneImage | Video],
            batch_size: int = 1,
            strict: bool = True,
            keep: bool = False,
            num_workers: int = 0) -> Iterator[list[PreparedImage]]:
        """Put images and videos through the pipeline, in batches.

        The arguments are those of
        :func:`~mmad.apis.prepared_image.prepare_batches`.
        """
        return prepare_batches(
            frames_of(inputs), self.pipeline, batch_size, strict, keep,
            num_workers)

    def forward(  # type: ignore[override]
            self,
            inputs: list[PreparedImage],
            strict: bool = True) -> list[AnomalyDataSample]:
        """Score a batch of :meth:`preprocess`."""
        return score_batch(inputs, self._score, strict)

    def visualize(  # type: ignore[override]
            self,
            inputs: list[np.ndarray | None],
            preds: list[AnomalyDataSample],
            show: bool = False,
            wait_time: float = 0) -> list[np.ndarray | None]:
        """Draw predictions over the original images.

        Returns:
            list[np.ndarray | None]: Drawings ``(H, W, 3)`` uint8 BGR; None
            for an image with an error, or whose map cannot be placed in it.
        """
        drawings: list[np.ndarray | None] = []
        for image, sample in zip(inputs, preds, strict=True):
            drawn = None
            if image is not None and is_placed(sample):
                drawn = self.visualizer.draw(image, sample, frame='original')
            if show and drawn is not None:
                self.visualizer.show(
                    drawn[..., ::-1],
                    win_name=str(sample.get('img_path')),
                    wait_time=wait_time)
            drawings.append(drawn)
        return drawings

    def postprocess(  # type: ignore[override]
            self,
            preds: list[AnomalyDataSample],
            visualization: list | None = None,
            return_datasample: bool = True) -> Any:
        """Return predictions, and drawings, as :meth:`__call__` does."""
        found = preds if return_datasample else list(map(make_record, preds))
        return found if visualization is None else dict(
            predictions=found, visualization=visualization)

    @staticmethod
    def list_models(pattern: str | None = None) -> list[str]:  # type: ignore
        """List the names of configs, see :func:`~mmad.apis.list_models`."""
        return list_models(pattern)

    def _start(self,
               inputs: Inputs,
               batch_size: int,
               strict: bool,
               writer: PredictionWriter | None = None,
               draws: bool = False,
               num_workers: int = 0,
               bar: bool = False) -> Iterator[Scored]:
        check_number('batch_size', batch_size, low=1, integer=True)
        check_number('num_workers', num_workers, low=0, integer=True)
        images = find_images(inputs,
                             [] if writer is None else [writer.out_dir],
                             strict)
        batches = self.preprocess(
            images, batch_size, strict, draws
            or (writer is not None and writer.overlays != 'none'), num_workers)
        return show_bar(
            self._run(batches, strict, writer), 'Predicting',
            count_images(images), bar and self.show_progress
            and get_console().is_terminal)

    def _run(self, batches: Iterable[list[PreparedImage]], strict: bool,
             writer: PredictionWriter | None) -> Iterator[Scored]:
        for batch in batches:
            for sample, image in zip(self.forward(batch, strict), batch):
                if writer is not None:
                    writer.add(sample, image.original)
                yield sample, image.original
            if writer is not None:
                writer.flush()

    @torch.no_grad()
    def _score(self, batch: list[dict]) -> list[AnomalyDataSample]:
        with explain_errors(self._stored_in):
            samples = self.model.test_step(self.collate_fn(batch))
            samples = [sample.cpu() for sample in samples]
        if self._thresholds is not None:
            for sample in samples:
                judge(sample, *self._thresholds)
        return samples

    def _open(self, inputs: Inputs, out_dir: str | Path | None):
        if out_dir is None:
            return nullcontext()
        return PredictionWriter(
            out_dir,
            roots=find_roots(inputs),
            about=self.describe(),
            visualizer=self.visualizer)

    def _init_model(self, *args) -> BaseDetector:  # type: ignore[override]
        return self.model

    def _init_pipeline(self, cfg: Config) -> Callable:
        steps = require_pipeline(self.model.cfg, f'of "{self._checkpoint}"')
        with DefaultScope.overwrite_default_scope('mmad'):
            return explain_errors(self._stored_in)(ImagePipeline(steps))

    def _init_collate(self, cfg: Config) -> Callable:
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> AnomalyVisualizer:
        # That of the config would write to its back ends.
        return AnomalyVisualizer()
