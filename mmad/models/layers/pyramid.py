from torch import Size, Tensor
from torch.nn.functional import interpolate


def to_grid(level: Tensor, grid: Size | tuple[int, int]) -> Tensor:
    """Repeat the features of a coarse stage on a finer grid.

    Each position of the fine grid gets the features of the nearest coarse
    cell, as in PaDiM (arXiv 2011.08785).

    Args:
        level (Tensor): ``(B, C, h, w)``.
        grid (Size | tuple[int, int]): Height and width of the fine grid.

    Returns:
        Tensor: ``(B, C, H, W)``; ``level`` itself if it has that size.
    """
    return level if level.shape[-2:] == grid else interpolate(level, grid)
