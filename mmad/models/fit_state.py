import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmad.errors import InputError, printable

from .layers.fitted_module import FittedModule

# Bytes; a fingerprint has a few hundred.
_MAX_LENGTH = 1 << 20


class FitState(FittedModule):
    """The fingerprint of a model and whether it is fitted, as buffers.

    The fingerprint is what a config and a checkpoint must agree in. It is
    empty until a fit has ended or a training has begun. Loading the state of
    a model with another one, or with none, raises
    :class:`~mmad.errors.InputError`; with :func:`refuse_part` as a hook of
    the model, so does loading a part of a state.

    A model that is trained by gradients is fitted once training has gone
    through all images, that is, as many batches as an epoch has. Until then
    its state can be saved and resumed, but not used.

    Args:
        model_name (str): Of the model that it belongs to, for messages.
        describe (Callable): Returns the present fingerprint, a dict that can
            be written as JSON.

    Attributes:
        fingerprint (Tensor): uint8, the JSON text.
        batches_left (Tensor): ``(1,)`` int64, batches until training has gone
            through all images; ``(0,)`` once it has, or in a fit.
    """

    fingerprint: Tensor
    batches_left: Tensor

    def __init__(self, model_name: str, describe: Callable[[], dict]) -> None:
        super().__init__()
        self.model_name = model_name
        self.describe = describe
        self.load_errors: list[str] = []
        self.register_fitted('fingerprint', dtype=torch.uint8)
        self.register_fitted('batches_left', dtype=torch.int64)

    @property
    def has_begun(self) -> bool:
        """Whether a training has begun or a fit has ended."""
        return len(self.fingerprint) > 0

    @property
    def is_fitted(self) -> bool:
        # By shapes alone, so that a model can be exported.
        return self.has_begun and len(self.batches_left) == 0

    def finalize(self) -> None:
        """Declare the model fitted, with the present fingerprint."""
        self.begin_training(0)

    def begin_training(self, num_batches: int) -> None:
        """Declare the model fitted after so many batches.

        Args:
            num_batches (int): Of an epoch, per process.
        """
        text = json.dumps(self.describe(), sort_keys=True)
        self.fingerprint = self.fingerprint.new_tensor(list(text.encode()))
        self.batches_left = self.batches_left.new_tensor(
            [num_batches] if num_batches else [])

    def after_batch(self, loss: Tensor, log: dict) -> tuple[Tensor, dict]:
        """Count a batch of the training, and check its loss.

        Args:
            loss (Tensor): Sum of the losses.
            log (dict): Returned as it is.

        Raises:
            InputError: The loss is not finite, or no training has begun.
        """
        if not self.has_begun:
            raise InputError(
                f'no training of {self.model_name} has begun; `default_hooks` '
                'needs the TrainingStartHook.')
        self.check_loss(loss)
        if len(self.batches_left):
            left = self.batches_left - 1
            self.batches_left = left[left > 0]
        return loss, log

    def check_loss(self, loss: Tensor) -> None:
        """Raise :class:`InputError` if a loss is not finite."""
        if not torch.isfinite(loss):
            raise InputError(
                f'the training of {self.model_name} has diverged, its loss is '
                f'{loss.item()}; lower the learning rate (`lr` of '
                '`optim_wrapper.optimizer`), or check the weights that it '
                'starts from.')

    def require_fitted(self) -> None:
        """Raise :class:`InputError` unless the model is fitted."""
        if not self.has_begun:
            raise InputError(
                f'{self.model_name} is not fitted; fit it with tools/train.py '
                'or load a checkpoint of a fitted one.')
        if not self.is_fitted:
            raise InputError(
                f'{self.model_name} is not fitted: its training was broken '
                f'off {int(self.batches_left)} batches before it had seen all '
                'images; go on with tools/train.py --resume.')

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        self.load_errors = args[-1]  # the other modules add to it as well
        stored = read_fingerprint(state_dict, prefix)
        if not stored:
            raise InputError(
                f'the checkpoint holds no fitted state of {self.model_name}; '
                'it is of another kind of model or was not fitted. Fit with '
                'tools/train.py.')
        own = json.loads(json.dumps(self.describe()))
        differing = [
            f'{key} {stored.get(key)!r} instead of {own.get(key)!r}'
            for key in sorted(own.keys() | stored.keys())
            if stored.get(key) != own.get(key)
        ]
        if differing:
            shown = printable('; '.join(differing)[:1000])
            raise InputError(
                'the checkpoint does not fit the config: it was made with '
                f'{shown}. Use the config it was fitted with.')
        super()._load_from_state_dict(state_dict, prefix, *args)


def read_fingerprint(state: Any, prefix: str = 'fit_state.') -> dict:
    """Read the fingerprint from a state dict.

    Args:
        state (Any): A state dict, or whatever a checkpoint has there.
        prefix (str): Of the keys of the :class:`FitState`. Defaults to
            ``'fit_state.'``.

    Returns:
        dict: The fingerprint; empty if there is none that can be read.
    """
    try:
        stored = state[f'{prefix}fingerprint']
        if len(stored) > _MAX_LENGTH:
            return {}
        found = json.loads(bytes(stored.tolist()).decode())
    # Anything may be in the place of the fingerprint.
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def refuse_part(model: Any, keys: Any) -> None:
    """Refuse a state of which MMEngine's runner would load a part.

    To be registered with ``register_load_state_dict_post_hook`` by a model
    that has a ``fit_state``.
    """
    state: FitState = model.fit_state
    wrong = [
        *(f'it lacks "{key}"' for key in keys.missing_keys
          if not key.endswith('num_batches_tracked')), *state.load_errors
    ]
    state.load_errors = []
    if wrong:
        # What has been loaded of it is nothing to predict with.
        state.reset()
        shown = printable(' '.join(wrong[0].split())[:300])
        raise InputError(
            f'the state of the checkpoint does not fit the '
            f'{state.model_name} ({shown}, {len(wrong)} in all); it is '
            'damaged or of another model: fit again, or use the config that '
            'it was fitted with.')
