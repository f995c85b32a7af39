from torch import Size, Tensor
from torch.nn.functional import interpolate


def to_grid(level: Tensor, grid: Size | tuple[int, int]) -> Tensor:
    """Bring the features of a coarse stage to a finer grid.

    Each cell takes over the features of the nearest coarse one, as in PaDiM
    (arXiv 2011.08785).

    Args:
        level (Tensor): ``(B, C, h, w)``.
        grid (Size | tuple[int, int]): Height and width of the fine grid.

    Returns:
        Tensor: ``(B, C, H, W)``; ``level`` itself if it has that size.
    """
    return level if level.shape[-2:] == grid else interpolate(level, grid)
