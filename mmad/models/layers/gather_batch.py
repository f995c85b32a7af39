import torch
import torch.distributed as dist
from torch import Tensor

from mmad.errors import InputError


def gather_batch(values: Tensor) -> Tensor:
    """The batches of all processes as one, with gradients.

    In the order of one process with as large a batch: samplers deal images
    out in turn. If all processes compute the same loss from it, the mean of
    their gradients is that of the one process.

    Args:
        values (Tensor): ``(B, ...)``, equally many in all processes.

    Returns:
        Tensor: ``(K B, ...)`` for ``K`` processes; for one, ``values``.

    Raises:
        InputError: Processes have batches of different size.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return values
    sizes = _gather(torch.tensor([len(values)], device=values.device))
    if len(sizes.unique()) > 1:
        raise InputError(
            f'the processes have batches of {sizes.flatten().tolist()} images '
            'in one step; leave `round_up` of the sampler of the '
            'train_dataloader at True.')
    return _GatherBatch.apply(values)


def own_part(values: Tensor) -> Tensor:
    """What of a gathered batch is of this process, ``(B, ...)``."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return values
    return values[dist.get_rank()::dist.get_world_size()]


class _GatherBatch(torch.autograd.Function):

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return _gather(values).transpose(0, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return own_part(gradient)


def _gather(values: Tensor) -> Tensor:
    """``(K, ...)`` of ``(...)`` in each of ``K`` processes."""
    values = values.detach().contiguous()
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values)
    return torch.stack(parts)
