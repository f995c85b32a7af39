import torch
import torch.nn.functional as F
from torch import Tensor


def gray_opening(maps: Tensor) -> Tensor:
    """Apply a gray-scale opening with a cross of 3 x 3 pixels.

    An opening is an erosion followed by a dilation. It removes bright spots
    that the cross does not fit into and never raises a value. The result is
    that of ``scipy.ndimage.grey_opening`` with this footprint, which ignores
    what lies beyond the border. OpenCV calls the cross an ellipse of 3 x 3.

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
