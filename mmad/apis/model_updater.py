from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor

from mmad.errors import InputError
from mmad.models import BaseDetector, FitDetector
from mmad.utils.arguments import check_number
from mmad.utils.progress import show_progress

from .image_pipeline import ImagePipeline, require_pipeline

Paths = Sequence[str | Path]


class ModelUpdater:
    """Takes images into the fit of a detector, and out of it.

    Images go through the test pipeline of the config.

    Args:
        model (BaseDetector): Fitted detector from
            :func:`~mmad.apis.init_model`.
        batch_size (int): Images at a time. Defaults to 8.

    Raises:
        InputError: The detector is trained and not fitted, or its config has
            no test pipeline.
    """

    def __init__(self, model: BaseDetector, batch_size: int = 8) -> None:
        check_number('batch_size', batch_size, low=1, integer=True)
        name = type(model).__name__
        if not isinstance(model, FitDetector):
            raise InputError(
                f'{name} is trained by gradients and cannot take in images '
                'later on; train it anew with all images: tools/train.py.')
        steps = require_pipeline(model.cfg, f'of the {name}')
        self.model = model
        self.batch_size = batch_size
        with DefaultScope.overwrite_default_scope('mmad'):
            self._pipeline = ImagePipeline(steps)

    @property
    def needs_files(self) -> bool:
        """Whether the files of images are needed to forget them."""
        return any(module.forgets_features
                   for module in self.model.updated_modules)

    def update(
        self,
        added: Paths,
        forgotten: Sequence[int] = (),
        forgotten_paths: Paths = ()
    ) -> None:
        """Take images into the fit, and others out of it.

        Args:
            added (Paths): New images.
            forgotten (Sequence[int]): Numbers of images in the fit. The
                images behind them move up, and new ones come last. Defaults
                to none.
            forgotten_paths (Paths): Their files, if :attr:`needs_files`.
                Defaults to none.

        Raises:
            InputError: An image cannot be read or does not fit the others, or
                the detector cannot do it. It is not to be used then.
        """
        model, ids = self.model, list(forgotten)
        model.begin_update(len(added), self.batch_size, ids)
        for _ in range(model.num_update_passes):
            if ids:
                # All at once, since those behind them move up.
                model.forget(
                    ids,
                    self._load(forgotten_paths) if self.needs_files else None)
            for batch in self._batches(added, 'Adding'):
                model.fit_step(batch)
            model.end_pass()

    @torch.no_grad()
    def score(self,
              paths: Paths,
              numbers: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Score images, each as if it had not been in the fit.

        Args:
            paths (Paths): The images.
            numbers (Sequence[int], optional): Their numbers in the fit.
                Defaults to None: they are not in there.

        Returns:
            tuple[Tensor, Tensor]: Scores and the largest values of the maps,
            ``(n,)`` each, on the CPU.
        """
        model, found, start = self.model, [], 0
        for batch in self._batches(paths, 'Calibrating'):
            stop = start + len(batch['inputs'])
            data = model.data_preprocessor(batch, False)
            leaving_out = (
                nullcontext()
                if numbers is None else model.leaving_out(numbers[start:stop]))
            with leaving_out:
                samples = model.predict(**data)
            found += [[
                float(sample.pred_score),
                float(sample.pred_map.nan_to_num(-torch.inf).max())
            ] for sample in samples]
            start = stop
        scores, peaks = torch.tensor(found).view(-1, 2).T
        return scores, peaks

    def _batches(self, paths: Paths, title: str) -> Iterator[dict]:
        starts = range(0, len(paths), self.batch_size)
        for start in show_progress(starts, title, enable=len(starts) > 1):
            yield self._load(paths[start:start + self.batch_size], start)

    def _load(self, paths: Paths, first: int = 0) -> dict:
        batch = []
        for number, path in enumerate(paths, first):
            packed = self._pipeline(dict(img_path=str(path)))
            packed['data_samples'].set_metainfo(dict(sample_idx=number))
            batch.append(packed)
        return pseudo_collate(batch)
