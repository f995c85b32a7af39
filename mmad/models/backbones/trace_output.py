import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def trace_output(module: nn.Module, size: Sequence[int] = (224, 224)) -> Any:
    """Find out what a module returns for an image, without computing it.

    A copy of the module runs on torch's device ``meta``, where tensors have a
    shape and no numbers; that takes neither weights nor time, and leaves the
    module as it is. One that does not run there is given a black image.

    Args:
        module (nn.Module): It takes images ``(B, 3, H, W)``.
        size (Sequence[int]): Height and width of the image. Defaults to 224
            pixels, a multiple of the usual patch sizes.

    Returns:
        Any: Its output for one image; only the shapes have a meaning.
    """
    memo = {
        id(tensor): _outline(tensor)
        for tensor in (*module.parameters(), *module.buffers())
    }
    try:
        with torch.no_grad(), torch.device('meta'):
            outline = copy.deepcopy(module, memo)
            return outline.forward(torch.empty(1, 3, *size))
    # Modules of others may say anything to tensors without numbers. What is
    # wrong with the module itself is raised below once more.
    except Exception:
        first = next(module.parameters(), torch.empty(0))
        with torch.no_grad():
            return module(first.new_zeros(1, 3, *size))


def _outline(tensor: Tensor) -> Tensor:
    outline = tensor.detach().to('meta')
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(outline, requires_grad=tensor.requires_grad)
    return outline
