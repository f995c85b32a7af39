import torch
from torch import Tensor

from mmad.errors import InputError

from .signed_model import SignedModel


class TrainedModel(SignedModel):
    """A model that is trained by gradients and of no use before.

    It counts as fitted once training has gone through all images, that is, as
    many batches as an epoch has. Until then its state can be saved and
    resumed, but not used. :class:`~mmad.engine.hooks.TrainingStartHook` says
    how many batches that are; without it the first one is refused.

    Subclasses implement :meth:`signature` and call :meth:`count_batch` for
    each batch that they are trained with.

    Args:
        data_preprocessor (dict, optional): Batches and normalizes images.
            Defaults to None.

    Attributes:
        batches_left (Tensor): ``()`` int64, batches until it is fitted.
    """

    batches_left: Tensor

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.register_buffer('batches_left',
                             torch.zeros((), dtype=torch.int64))

    @property
    def is_fitted(self) -> bool:
        return super().is_fitted and int(self.batches_left) == 0

    def begin_training(self, num_batches: int) -> None:
        """Forget an earlier training, and expect so many batches.

        Args:
            num_batches (int): Of an epoch, per process.
        """
        self.batches_left.fill_(num_batches)
        self.sign()

    @torch.compiler.disable
    def count_batch(self) -> None:
        """Note that there was another batch of the training.

        Raises:
            InputError: No training has begun.
        """
        if not len(self.signature_bytes):
            raise InputError(
                f'no training of {type(self).__name__} has begun; '
                '`default_hooks` needs the TrainingStartHook.')
        self.batches_left.sub_(1).clamp_(min=0)

    def require_fitted(self) -> None:
        if len(self.signature_bytes) and not self.is_fitted:
            raise InputError(
                f'{type(self).__name__} is not fitted: its training was '
                f'broken off {int(self.batches_left)} batches before it had '
                'seen all images; go on with tools/train.py --resume.')
        super().require_fitted()

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # Checkpoints of earlier versions do not say.
        state_dict.setdefault(prefix + 'batches_left',
                              torch.zeros_like(self.batches_left))
        super()._load_from_state_dict(state_dict, prefix, *args)
