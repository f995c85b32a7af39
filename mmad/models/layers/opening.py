import torch
import torch.nn.functional as F
from torch import Tensor


def open_maps(maps: Tensor) -> Tensor:
    """Gray-scale opening with a cross of 3 x 3 pixels.

    An erosion, then a dilation, which takes away bright spots that the cross
    does not fit into and never raises a value. The cross is what OpenCV calls
    an ellipse of that size; beyond the border there is nothing, which is
    ``scipy.ndimage.grey_opening`` with its defaults.

    Args:
        maps (Tensor): ``(B, 1, H, W)``.

    Returns:
        Tensor: ``(B, 1, H, W)``.
    """
    return _dilate(-_dilate(-maps))


def _dilate(maps: Tensor) -> Tensor:
    return torch.maximum(
        F.max_pool2d(maps, (3, 1), stride=1, padding=(1, 0)),
        F.max_pool2d(maps, (1, 3), stride=1, padding=(0, 1)))
