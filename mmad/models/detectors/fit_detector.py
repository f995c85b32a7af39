from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from mmengine.dist import get_world_size
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmad.errors import InputError
from mmad.models.layers.fitted_module import FittedModule
from mmad.structures import AnomalyDataSample

from .base import BaseDetector
from .fit_pass import Features, FitPass
from .input_frame import blank


class FitDetector(BaseDetector):
    """A detector that is fitted without gradients, in one pass or a few.

    What it learns are its children of class
    :class:`~mmad.models.layers.FittedModule`, in the order of their
    definition, each in a pass over the training images: an epoch of the
    training loop, after which :class:`~mmad.engine.hooks.FitHook` calls
    :meth:`end_pass`. What a pass has learned is there for :meth:`extract` in
    the next.

    Subclasses implement :meth:`extract`, whose features the modules are
    updated with, and :meth:`score`.

    Args:
        data_preprocessor (dict, optional): Batches and normalizes images.
            Defaults to None.

    Attributes:
        passes_done (int): Number of passes of the fit that have ended.
    """

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self._pass: FitPass | None = None
        self.passes_done = 0
        self._passed_modules: list[FittedModule] = []

    @abstractmethod
    def extract(self, inputs: Tensor) -> Features:
        """Features ``(B, ...)`` of images ``(B, 3, H, W)``, or several."""

    @property
    def fitted_modules(self) -> list[FittedModule]:
        """What is fitted, in this order, each in a pass over the images."""
        return [
            module for module in self.children()
            if isinstance(module, FittedModule) and module.needs_pass
            and module is not self.fit_state
        ]

    @property
    def num_passes(self) -> int:
        """Epochs that a fit takes."""
        return len(self.fitted_modules)

    @property
    def is_fitting(self) -> bool:
        """Whether passes of a fit, or of an update, are still to come."""
        return self._pass is not None

    @property
    def is_fitted(self) -> bool:
        return super().is_fitted and not self._empty_modules()

    def require_fitted(self) -> None:
        super().require_fitted()
        if self._empty_modules():
            raise InputError(
                f'{type(self).__name__} is not fitted: its '
                f'{", ".join(self._empty_modules())} is empty; the checkpoint '
                'is damaged or of another model: fit again.')

    def _empty_modules(self) -> list[str]:
        return [
            name for name, module in self.named_children()
            if isinstance(module, FittedModule) and module.is_required
            and not module.is_fitted
        ]

    @property
    def can_leave_out(self) -> bool:
        """Whether images can be scored as if they had not been fitted."""
        return all(module.can_leave_out for module in self.fitted_modules)

    @contextmanager
    def leaving_out(self, ids: Sequence[int]) -> Iterator[None]:
        """Score images as if each had not been in the fit.

        What the detector returns within this context, from a batch of images
        of the training set, are the scores and maps that it would have for
        each if it had been fitted to all others.

        Args:
            ids (Sequence[int]): The number of each image of the batch in the
                training set (``sample_idx``).

        Raises:
            InputError: It cannot leave out images.
        """
        if not self.can_leave_out:
            raise InputError(
                f'{type(self).__name__} cannot score an image as if it had '
                'not been in the fit; hold images out of the fit instead.')
        modules = [
            part for module in self.fitted_modules
            for part in module.modules() if isinstance(part, FittedModule)
        ]
        try:
            for module in modules:
                module.left_out = ids
            yield
        finally:
            for module in modules:
                module.left_out = None

    def end_calibration(self) -> None:
        """Forget what only :meth:`leaving_out` has needed.

        A checkpoint is smaller then, and images can still be left out, but a
        coreset scores them higher than without.
        """
        for module in self.fitted_modules:
            module.end_calibration()

    @property
    def needs_training(self) -> bool:
        """Whether :meth:`extract` is trained by gradients before a fit."""
        return False

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        """Forget an earlier fit and expect so many images.

        Args:
            num_images (int): Size of the training set, over all processes.
            batch_size (int): Images per step and process.

        Raises:
            InputError: There are more processes than images, or as
                :meth:`check_modules` says.
        """
        self.check_modules()
        if get_world_size() > num_images:
            raise InputError(
                f'there are {get_world_size()} processes for {num_images} '
                'training images; use at most one for each image.')
        for module in self.children():
            if (isinstance(module, FittedModule)
                    and not module.images_before_training):
                module.num_images = num_images
                module.reset()
        self.input_size.zero_()
        self._begin_passes(self.fitted_modules,
                           FitPass(num_images, batch_size))

    def _begin_passes(self, modules: list[FittedModule],
                      first: FitPass) -> None:
        self._passed_modules, self._pass, self.passes_done = modules, first, 0

    @property
    def updated_modules(self) -> list[FittedModule]:
        """What images change that are added to a fit, in passes as these."""
        return [
            module for module in self.fitted_modules if module.needs_update
        ]

    @property
    def num_update_passes(self) -> int:
        """Passes over the new images that an update takes."""
        return len(self.updated_modules)

    @property
    def num_fitted(self) -> int:
        """Number of images that it is fitted to."""
        return self.updated_modules[0].num_fitted

    def begin_update(self,
                     num_new: int,
                     batch_size: int,
                     forgotten: Sequence[int] = ()) -> None:
        """Take up an earlier fit, in one process, and expect new images.

        For each of :attr:`updated_modules`, a pass over the new images
        follows as in a fit, with numbers from 0, and :meth:`end_pass`.
        Before each, :meth:`forget` takes out the images to be forgotten.
        There are no thresholds afterwards.

        Args:
            num_new (int): Number of new images, possibly none.
            batch_size (int): Images per step.
            forgotten (Sequence[int]): Numbers of the images that will be
                taken out. The images behind them move up. Defaults to none.

        Raises:
            InputError: It is not fitted, cannot take in images after a fit,
                or would have no image.
        """
        self.require_fitted()
        modules = self.updated_modules
        if not modules:
            raise InputError(
                f'{type(self).__name__} learns nothing that more images '
                'change; fit again with all of them.')
        kept = self.num_fitted - len(forgotten)
        if kept < 1:
            raise InputError('all images would be forgotten; keep some.')
        for module in modules:
            module.num_images = kept + num_new
            module.reopen()
        self.decision.reset()
        self._begin_passes(modules, FitPass(num_new, batch_size, kept))

    @torch.no_grad()
    def forget(self, ids: list[int], data: dict | None = None) -> None:
        """Take images out of the fit that :meth:`begin_update` took up.

        Args:
            ids (list[int]): Their numbers in the fit.
            data (dict, optional): A batch of them from the test pipeline, for
                modules with ``forgets_features``. Defaults to None.
        """
        module, features = self._passed_modules[self.passes_done], None
        if module.forgets_features:
            inputs = self.data_preprocessor(data, False)['inputs']
            features = self.extract(inputs)
        module.forget(ids, features)

    def check_modules(self) -> None:
        """Refuse what no pass would reach.

        Raises:
            InputError: There is nothing to fit, or something is no attribute
                of the detector.
        """
        if not self.fitted_modules:
            raise InputError(
                f'{type(self).__name__} has nothing to fit; what it learns '
                'must be a FittedModule and an attribute of the detector.')
        inside = {
            part
            for module in self.children() if isinstance(module, FittedModule)
            for part in module.modules()
        }
        for name, module in self.named_modules():
            if isinstance(module, FittedModule) and module not in inside:
                raise InputError(
                    f'the {type(module).__name__} "{name}" of '
                    f'{type(self).__name__} would not be fitted; make it an '
                    'attribute of the detector, not of a list, a dict or '
                    'another part.')

    def train_step(self, data: dict, optim_wrapper=None) -> dict:
        self.fit_step(data)
        return {}

    def loss(self, inputs: Tensor,
             data_samples: list[AnomalyDataSample]) -> dict:
        """Take in a batch; there is nothing to minimize."""
        self._take_in(inputs, data_samples)
        return {}

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict]:
        # Batches are not counted: a fit comes after the training.
        loss, log = super(BaseDetector, self).parse_losses(losses)
        self.fit_state.check_loss(loss)
        return loss, log

    @torch.no_grad()
    def fit_step(self, data: dict) -> None:
        """Preprocess a batch from the data loader and learn from it.

        Raises:
            InputError: Features are not finite, or images not numbered or not
                of one size; or no fit was begun.
        """
        data = self.data_preprocessor(data, True)
        self._take_in(data['inputs'], data['data_samples'])

    def _take_in(self, inputs: Tensor,
                 data_samples: list[AnomalyDataSample]) -> None:
        current = self.current_pass
        inside = self.check_frame(inputs, data_samples)
        if inside is not None:
            inputs = blank(inputs, inside)
        module = self._passed_modules[self.passes_done]
        for own, group in current.groups(inputs):
            features = self.extract(group)
            _check_rows(features, len(group))
            current.take_in(module, features, data_samples[own],
                            None if inside is None else inside[own])

    def require_fitting(self) -> None:
        """Raise :class:`InputError` unless passes are still to come."""
        if not self.is_fitting:
            raise InputError(
                f'{type(self).__name__} was given images before `begin_fit` '
                'or after its last pass; with a Runner, `custom_hooks` needs '
                'the FitHook.')

    @property
    def current_pass(self) -> FitPass:
        """The pass that is under way."""
        self.require_fitting()
        return cast(FitPass, self._pass)

    @torch.no_grad()
    def end_pass(self) -> None:
        """Turn what all processes learned in a pass into the state.

        Raises:
            InputError: Some images of the training set were not seen, or two
                have the same number.
            RuntimeError: A module has left a buffer empty.
        """
        current = self.current_pass
        current.check_complete()
        module = self._passed_modules[self.passes_done]
        module.finalize()
        if not module.is_fitted:
            raise RuntimeError(
                f'`{type(module).__name__}.finalize` has left a buffer of '
                '`register_fitted` empty; it must assign all of them.')
        self.skip_passes(1)

    def skip_passes(self, number: int) -> None:
        """Go on after the next passes, whose modules have their state."""
        current = self.current_pass
        self._pass = FitPass(current.num_images, current.batch_size,
                             current.first_id)
        self.passes_done += number
        if self.passes_done == len(self._passed_modules):
            self._pass = None
            self.fit_state.finalize()


def _check_rows(features: Features, number: int) -> None:
    for part in tree_leaves(features):
        if part.ndim < 2 or len(part) != number:
            raise ValueError(
                f'`extract` was given {number} images and returned features '
                f'of the shape {tuple(part.shape)}; they must be (B, D, ...), '
                'one row for each image.')
