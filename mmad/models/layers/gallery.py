from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmad.errors import InputError

from .fitted_module import FittedModule
from .memory_bank import MemoryBank
from .pyramid_graph import nearest_in_gallery
from .pyramid_search import nearest_in_images
from .pyramid_store import PyramidStore


class Gallery(FittedModule):
    """Normal images by one feature each and by the stages of their pyramids.

    SPADE (arXiv 2005.02357) looks for the nearest images first, section 3.2,
    and then for the nearest positions in these, section 3.3. An image that is
    left out is not among its own nearest images.

    Args:
        num_levels (int): Number of stages.
        dtype (str): Of the stored stages, ``'float32'`` or ``'float16'``.
            Defaults to ``'float32'``.
        folder (str, optional): See
            :class:`~mmad.models.layers.PyramidStore`. Defaults to None.
    """

    can_leave_out = True

    def __init__(self,
                 num_levels: int,
                 dtype: str = 'float32',
                 folder: str | None = None) -> None:
        super().__init__()
        self.images = MemoryBank()
        self.pyramids = PyramidStore(num_levels, dtype, folder)

    def __len__(self) -> int:
        return len(self.images)

    def reset(self) -> None:
        super().reset()
        for part in (self.images, self.pyramids):
            part.num_images = self.num_images
            part.reset()

    @property
    def num_fitted(self) -> int:
        return len(self)

    def reopen(self) -> None:
        for part in (self.images, self.pyramids):
            part.num_images = self.num_images
            part.reopen()

    def forget(self, ids: list[int], features: Any = None) -> None:
        for part in (self.images, self.pyramids):
            part.forget(ids)

    def update(self, features: tuple[Tensor, ...], ids: list[int]) -> None:
        """Take in new images.

        Args:
            features (tuple[Tensor, ...]): Image features ``(B, C)``, then the
                stages ``(B, C_k, h_k, w_k)``, the finest first.
            ids (list[int]): Numbers of the images.
        """
        image_features, *levels = features
        self.images.update(image_features, ids)
        self.pyramids.update(levels, ids)

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        return self._progress_of_parts(ids)

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        self._load_progress_of_parts(state)

    def finalize(self) -> None:
        """Give every process all images."""
        self.images.finalize()
        self.pyramids.complete(self.images.rows)

    def forward(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Find the nearest images.

        Args:
            features (Tensor): Image features ``(B, C)``.
            k (int): Number of images; all where there are fewer.

        Returns:
            tuple[Tensor, Tensor]: Distances ``(B, k)`` and numbers
            ``(B, k)``.
        """
        available = len(self) - (self.left_out is not None)
        return self.images(features, max(min(k, available), 1))

    def nearest_positions(self,
                          levels: Sequence[Tensor],
                          images: Sequence[int],
                          k: int,
                          stages: Sequence[int] | None = None) -> Tensor:
        """Find the nearest pyramid features anywhere in some images.

        Args:
            levels (Sequence[Tensor]): Stages ``(C_k, h_k, w_k)`` of one
                image.
            images (Sequence[int]): Numbers of the images to look in.
            k (int): Number of positions; all where there are fewer.
            stages (Sequence[int], optional): Which stages make up the pyramid
                features. Defaults to None: all.

        Returns:
            Tensor: Squared distances ``(h, w, k)`` on the grid of the first
            of these stages.
        """
        stages = range(len(levels)) if stages is None else stages
        queries = [levels[s].flatten(1).T.contiguous() for s in stages]
        grids = [(levels[s].shape[1], levels[s].shape[2]) for s in stages]

        def stages_of(image: int) -> list[Tensor]:
            pyramid = self.pyramids.image(image)
            return [pyramid[s] for s in stages]

        distances = nearest_in_images(queries, grids, stages_of, images,
                                      min(k,
                                          len(images) * len(queries[0])))
        return distances.unflatten(0, grids[0])

    def nearest_in_graph(self, levels: Sequence[Tensor], images: Tensor,
                         k: int, stages: Sequence[int]) -> Tensor:
        """Do the same for a batch while an exported graph is made.

        Args:
            levels (Sequence[Tensor]): Stages ``(B, C_k, h_k, w_k)``.
            images (Tensor): ``(B, K)``, numbers of the images to look in.
            k (int): Number of positions; all where there are fewer.
            stages (Sequence[int]): Which stages make up the pyramid features.

        Returns:
            Tensor: Squared distances ``(B, h, w, k)``.

        Raises:
            InputError: The pyramids lie in a folder.
        """
        if self.pyramids.folder is not None:
            raise InputError(
                'a gallery in a folder (`gallery_dir`) cannot be part of a '
                'graph; fit without it to export.')
        stored = self.pyramids.levels
        positions = images.shape[1] * stored[stages[0]].shape[1]
        return nearest_in_gallery([levels[s] for s in stages],
                                  [stored[s] for s in stages], images,
                                  min(k, positions))
