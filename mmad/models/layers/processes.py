"""Communication between the processes of a distributed run.

All functions are collective: every process of the default group calls them,
with tensors of the same shape and dtype. Without a process group, or with a
group of one process, they return at once. Tensors may be on any device: those
that the backend cannot send are copied to a device that it can send from.
"""
import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of processes; 1 without a process group."""
    return dist.get_world_size() if _initialized() else 1


def rank() -> int:
    """Return the number of this process; 0 without a process group."""
    return dist.get_rank() if _initialized() else 0


def all_reduce_(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over the processes, in place.

    Args:
        tensor (Tensor): Any shape.

    Returns:
        Tensor: ``tensor``.
    """
    if world_size() > 1:
        sent = _to_send(tensor)
        dist.all_reduce(sent)
        _copy_back(tensor, sent)
    return tensor


def all_gather(tensor: Tensor) -> Tensor:
    """Stack the tensors of all processes.

    Gradients do not flow back; see
    :func:`~mmad.models.layers.gather_batch`.

    Args:
        tensor (Tensor): ``(...)``.

    Returns:
        Tensor: ``(K, ...)`` for ``K`` processes, in the order of their ranks,
        on the device of ``tensor``.
    """
    if world_size() == 1:
        return tensor.detach()[None]
    sent = _to_send(tensor)
    parts = [torch.empty_like(sent) for _ in range(world_size())]
    dist.all_gather(parts, sent)
    return torch.stack(parts).to(tensor.device)


def all_gather_rows(rows: Tensor) -> Tensor:
    """Join the rows of all processes, which may hold different numbers.

    Args:
        rows (Tensor): ``(n, ...)``, possibly none.

    Returns:
        Tensor: ``(N, ...)`` in the order of the ranks, on the device of
        ``rows``.
    """
    counts = all_gather(torch.tensor(len(rows))).tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[:len(rows)] = rows.detach()
    return torch.cat([
        part[:count]
        for part, count in zip(all_gather(padded), counts, strict=True)
    ])


def broadcast_(tensor: Tensor, source: int = 0) -> Tensor:
    """Replace a tensor by that of one process, in place.

    Args:
        tensor (Tensor): Any shape.
        source (int): Rank of the process that has the values. Defaults to 0.

    Returns:
        Tensor: ``tensor``.
    """
    if world_size() > 1:
        sent = _to_send(tensor)
        dist.broadcast(sent, source)
        _copy_back(tensor, sent)
    return tensor


def barrier() -> None:
    """Wait until all processes have called this."""
    if world_size() > 1:
        dist.barrier()


def _initialized() -> bool:
    return dist.is_available() and dist.is_initialized()


def _to_send(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy that the backend can send."""
    device = dict(
        nccl='cuda', gloo='cpu').get(dist.get_backend(), tensor.device)
    return tensor.detach().to(device).contiguous()


@torch.no_grad()
def _copy_back(tensor: Tensor, sent: Tensor) -> None:
    if sent.data_ptr() != tensor.data_ptr():
        tensor.copy_(sent)
