from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.utils.checkpoint import check_sums
from mmad.utils.path_checks import what_is_wrong
from mmad.utils.remote_files import find_checkpoint

from .cpu_copy import CPUCopy
from .trace_output import trace_output


class FrozenBackbone(nn.Module):
    """A fixed feature extractor with named stages.

    Parameters take no gradients, unless :meth:`unfreeze` lets them, and the
    module stays in evaluation mode whatever :meth:`train` is asked for, so
    normalization statistics are those of the weights file.

    Subclasses map an image batch ``(B, 3, H, W)`` to a tuple with one tensor
    ``(B, C_k, H_k, W_k)`` per name in ``stages``, in that order.

    Args:
        stages (Sequence[str]): Names of the stages to return.

    Attributes:
        name (str): Which network; checkpoints are checked against it.
        stages (tuple[str, ...]): As given.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        super().__init__()
        if (isinstance(stages, str) or not isinstance(stages, Sequence)
                or not all(isinstance(stage, str) for stage in stages)):
            raise InputError(
                f'{type(self).__name__}: `stages` must be a list of names, '
                f'got {stages!r}.')
        if not stages or len(set(stages)) != len(stages):
            raise InputError(
                f'{type(self).__name__}: `stages` must name each wanted stage '
                f'once, got {list(stages)}.')
        self.name = type(self).__name__
        self.stages = tuple(stages)
        self._channels: tuple[int, ...] | None = None
        self._cpu_copy = CPUCopy()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels ``C_k`` of the stages, found out when first asked for."""
        if self._channels is None:
            self._channels = tuple(level.shape[1]
                                   for level in trace_output(self))
        return self._channels

    def freeze(self) -> None:
        """Stop gradients and enter evaluation mode for good."""
        self.requires_grad_(False)
        self.eval()

    def unfreeze(self) -> None:
        """Let parameters take gradients, still in evaluation mode.

        Those of the first convolution stay fixed. It sees images, whose
        values may have a large mean, such as a white background; even a small
        change of a filter's own mean then shifts a whole channel.
        """
        self.requires_grad_(True)
        first = next(
            (module
             for module in self.modules() if isinstance(module, nn.Conv2d)),
            None)
        if first is not None:
            first.requires_grad_(False)

    def train(self, mode: bool = True) -> 'FrozenBackbone':
        # Not by way of the parts, of which some have a `train` of their own.
        for module in self.modules():
            module.training = False
        return self

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a file, without unpickling code.

    Args:
        path: A file written by ``torch.save``: a state dict, or a dict that
            holds one under ``'state_dict'``. Or its URL, as
            :func:`~mmad.utils.load_checkpoint` takes it.

    Raises:
        InputError: The file is missing, unreadable or holds no state dict.
    """
    if not isinstance(path, str | Path):
        raise InputError(f'`weights` must name a file, got {path!r}.')
    file = find_checkpoint(str(path))
    if not file.is_file():
        raise InputError(
            f'weights file "{path}" {what_is_wrong(file)}; give the path of a '
            'local state dict, or a torchvision weights name.')
    check_sums(file, str(path))
    try:
        state = torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:  # torch.load has no narrower common base
        raise InputError(
            f'weights file "{path}" cannot be read as a plain state dict '
            f'({type(error).__name__}); it must come from '
            'torch.save(model.state_dict(), path).') from error
    if isinstance(state, Mapping) and isinstance(
            state.get('state_dict'), Mapping):
        state = state['state_dict']
    if not isinstance(state, Mapping) or not all(
            isinstance(value, Tensor) for value in state.values()):
        raise InputError(f'weights file "{path}" holds no state dict.')
    return dict(state)


def load_needed(model: nn.Module, state: Mapping[str, Tensor],
                source: str) -> None:
    """Copy into ``model`` every tensor that it has; ignore the surplus.

    Args:
        model: The network, already cut behind the last stage.
        state: Tensors by name.
        source: Where they come from, for the message.

    Raises:
        InputError: A tensor of ``model`` is missing in ``state`` or has
            another shape; the message lists them.
    """
    own = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    wrong = [
        f'{name} {tuple(tensor.shape)}' for name, tensor in own.items()
        if name not in state or state[name].shape != tensor.shape
    ]
    if wrong:
        shown = ', '.join(wrong[:8]) + (f' and {len(wrong) - 8} more'
                                        if len(wrong) > 8 else '')
        raise InputError(
            f'{source} lacks {len(wrong)} of the {len(own)} tensors that the '
            f'requested stages need (missing, or of another shape): {shown}; '
            'name a file that has them, or a config with earlier `stages`.')
    model.load_state_dict({name: state[name] for name in own}, strict=False)
