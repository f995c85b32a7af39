import json
from abc import ABCMeta, abstractmethod
from typing import NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmad.errors import InputError, printable
from mmad.models.layers.fitted_buffers import resize_buffers

# Bytes; a signature has a few hundred.
_MAX_LENGTH = 1 << 20


class SignedModel(BaseModel, metaclass=ABCMeta):
    """A model whose state says what it was made with.

    The signature is a buffer, so that it travels with the state wherever it
    goes. It is empty until there is a state to predict with; loading one that
    was made otherwise raises :class:`~mmad.errors.InputError`.

    Subclasses implement :meth:`signature` and call :meth:`sign`.

    Args:
        data_preprocessor (dict, optional): Batches and normalizes images.
            Defaults to None.
    """

    signature_bytes: Tensor

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.register_buffer('signature_bytes',
                             torch.empty(0, dtype=torch.uint8))
        self._load_errors: list[str] = []
        self.register_load_state_dict_post_hook(_refuse_part)

    @abstractmethod
    def signature(self) -> dict:
        """What a state must have been fitted with to be of use here."""

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict]:
        """As in MMEngine, and without a loss that is no number.

        Raises:
            InputError: Their sum is not finite.
        """
        loss, log = super().parse_losses(losses)
        if not torch.isfinite(loss):
            raise InputError(
                f'the training of {type(self).__name__} has diverged, its '
                f'loss is {loss.item()}; lower the learning rate (`lr` of '
                '`optim_wrapper.optimizer`), or check the weights that it '
                'starts from.')
        return loss, log

    @property
    def is_fitted(self) -> bool:
        return len(self.signature_bytes) > 0

    def sign(self) -> None:
        """Declare the state fitted, with the present signature."""
        text = json.dumps(self.signature(), sort_keys=True)
        self.signature_bytes = torch.tensor(
            list(text.encode()),
            dtype=torch.uint8,
            device=self.signature_bytes.device)

    def require_fitted(self) -> None:
        """Raise :class:`InputError` unless there is a fitted state."""
        if not self.is_fitted:
            raise InputError(
                f'{type(self).__name__} is not fitted; fit it with '
                'tools/train.py or load a checkpoint of a fitted one.')

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        self._load_errors = args[-1]  # the parts add to it as well
        theirs = read_signature(state_dict, prefix)
        if not theirs:
            raise InputError(
                f'the checkpoint holds no fitted state of '
                f'{type(self).__name__}; it is of another kind of model or '
                'was not fitted. Fit with tools/train.py.')
        ours = json.loads(json.dumps(self.signature()))
        differing = [
            f'{key} {theirs.get(key)!r} instead of {ours.get(key)!r}'
            for key in sorted(ours.keys() | theirs.keys())
            if theirs.get(key) != ours.get(key)
        ]
        if differing:
            shown = printable('; '.join(differing)[:1000])
            raise InputError(
                'the checkpoint does not fit the config: it was made with '
                f'{shown}. Use the config it was fitted with.')
        resize_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _refuse_part(model: SignedModel, keys: NamedTuple) -> None:
    """Refuse a state of which MMEngine's runner would load a part."""
    wrong = [
        *(f'it lacks "{key}"' for key in keys.missing_keys
          if not key.endswith('num_batches_tracked')), *model._load_errors
    ]
    model._load_errors = []
    if wrong:
        shown = printable(' '.join(wrong[0].split())[:300])
        raise InputError(
            f'the state of the checkpoint does not fit the '
            f'{type(model).__name__} ({shown}, {len(wrong)} in all); it is '
            'damaged or of another model: fit again, or use the config that '
            'it was fitted with.')


def read_signature(state: object, prefix: str = '') -> dict:
    """What a state says that it was made with.

    Args:
        state (object): A state dict, or whatever a checkpoint has there.
        prefix (str): Of the keys of the model. Defaults to ``''``.

    Returns:
        dict: Empty if it says nothing that can be read.
    """
    try:
        stored = state[f'{prefix}signature_bytes']
        if len(stored) > _MAX_LENGTH:
            return {}
        found = json.loads(bytes(stored.tolist()).decode())
    # Anything may be in the place of the signature.
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
