from functools import reduce
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmad.errors import InputError

from .affine import compose_affine, invert_affine, warp


class CoarseAlignment(NamedTuple):
    """Images and their features behind spatial transformers.

    Coarse alignment of FYD (arXiv 2110.04538): one transformer moves the
    images (ICA), and one behind each stage its maps (FCA), which the next
    stage then sees.

    Attributes:
        image (Tensor): ``(B, 3, H, W)`` behind the transformer of the images.
        maps (dict[str, Tensor]): Maps ``(B, C_k, h_k, w_k)`` of the stages,
            each before its own transformer.
        moved (dict[str, Tensor]): The same behind it.
        matrices (list[Tensor | None]): The transforms ``(B, 3, 3)`` of the
            images and of each stage; None where there is no transformer.
    """

    image: Tensor
    maps: dict[str, Tensor]
    moved: dict[str, Tensor]
    matrices: list[Tensor | None]

    @property
    def frame(self) -> Tensor | None:
        """The transform ``(B, 3, 3)`` behind the last transformer."""
        return _compose(self.matrices)

    @property
    def stages_frame(self) -> Tensor | None:
        """The transform of all transformers but that of the images."""
        return _compose(self.matrices[1:])

    def in_last_frame(self) -> list[Tensor]:
        """The maps of all stages as they are behind the last transformer."""
        return [
            _warp(level, _compose(self.matrices[i + 1:]))
            for i, level in enumerate(self.maps.values())
        ]

    def in_image_frame(self) -> list[Tensor]:
        """The maps of all stages brought back to the images."""
        return [
            _warp(level, _compose(self.matrices[:i + 1]), back=True)
            for i, level in enumerate(self.maps.values())
        ]


def align_stages(image: Tensor, matrix: Tensor | None, backbone: Any,
                 fca: nn.ModuleDict | None) -> CoarseAlignment:
    """Move the maps of a backbone by spatial transformers.

    Args:
        image (Tensor): ``(B, 3, H, W)`` behind the transformer of the images.
        matrix (Tensor, optional): Its transform ``(B, 3, 3)``; None where
            there is no such transformer.
        backbone (nn.Module): With ``fca`` a
            :class:`~mmad.models.SequentialBackbone`.
        fca (nn.ModuleDict, optional): Transformers of the stages.

    Returns:
        CoarseAlignment: See there.
    """
    stages = backbone.stages
    if fca is None:
        maps = dict(zip(stages, backbone(image)))
        return CoarseAlignment(image, maps, maps,
                               [matrix, *[None] * len(stages)])
    matrices = [matrix]
    maps, moved, level = {}, {}, image
    for name, part in backbone.body.named_children():
        level = part(level)
        if name in stages:
            maps[name] = level
            level, matrix = fca[name](level)
            moved[name] = level
            matrices.append(matrix)
    return CoarseAlignment(image, maps, moved, matrices)


def check_backbone(backbone: Any) -> None:
    """Check that FCA can step in between the stages of a backbone.

    Raises:
        InputError: It is no :class:`~mmad.models.SequentialBackbone`, or its
            stages are not in their order.
    """
    if not isinstance(getattr(backbone, 'body', None), nn.Sequential):
        raise InputError(
            f'`fca` moves the maps between two stages, which is not possible '
            f'in {type(backbone).__name__}; use TorchvisionResNet.')
    stages = list(backbone.stages)
    order = [
        name for name, _ in backbone.body.named_children() if name in stages
    ]
    if stages != order:
        raise InputError(f'`stages` of the backbone must be in its order, '
                         f'{order}, for `fca`, got {stages}.')


def _compose(matrices: list[Tensor | None]) -> Tensor | None:
    given = [matrix for matrix in matrices if matrix is not None]
    return reduce(compose_affine, given) if given else None


def _warp(level: Tensor, matrix: Tensor | None, back: bool = False) -> Tensor:
    if matrix is None:
        return level
    return warp(level, invert_affine(matrix) if back else matrix)
