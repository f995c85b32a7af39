import torch
from torch import Tensor

from mmad.errors import InputError

from .processes import all_gather, all_reduce_, rank, world_size


def gather_batch(values: Tensor) -> Tensor:
    """Join the batches of all processes, with gradients.

    Samples are in the order of one process with as large a batch, since
    samplers deal images out in turn. If all processes compute the same loss
    from the result, the mean of their gradients is that of the one process.

    Args:
        values (Tensor): ``(B, ...)``, equally many in all processes.

    Returns:
        Tensor: ``(K B, ...)`` for ``K`` processes; for one, ``values``.

    Raises:
        InputError: Processes have batches of different size.
    """
    if world_size() == 1:
        return values
    sizes = all_gather(torch.tensor(len(values))).tolist()
    if len(set(sizes)) > 1:
        raise InputError(
            f'the processes have batches of {sizes} images in one step; leave '
            '`round_up` of the sampler of the train_dataloader at True.')
    return _GatherBatch.apply(values)


def own_part(values: Tensor) -> Tensor:
    """Take the samples of this process out of a gathered batch.

    Args:
        values (Tensor): ``(K B, ...)`` in the order of :func:`gather_batch`.

    Returns:
        Tensor: ``(B, ...)``.
    """
    if world_size() == 1:
        return values
    return values[rank()::world_size()]


class _GatherBatch(torch.autograd.Function):

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return all_gather(values).transpose(0, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        # A copy, for others may have the same gradient.
        return own_part(all_reduce_(gradient.clone()))
