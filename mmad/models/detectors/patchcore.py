import math

import torch
from mmengine.dist import (
    all_gather_object,
    all_reduce,
    get_world_size,
    is_main_process,
)
from mmengine.logging import print_log
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.coreset import k_center_greedy, random_projection
from mmad.models.layers.memory_bank import MemoryBank
from mmad.models.layers.nearest_neighbors import distances_to
from mmad.models.layers.patch_features import PatchFeatures, valid_patches
from mmad.registry import MODELS
from mmad.utils.arguments import as_arguments, check_number

from .fit_detector import FitDetector


@MODELS.register_module()
class PatchCore(FitDetector):
    """PatchCore: a coreset of normal patch features and nearest neighbors.

    Implementation of `Towards Total Recall in Industrial Anomaly Detection
    <https://arxiv.org/abs/2106.08265>`_ (Roth et al., CVPR 2022).

    Images may have the border of a letterbox. Patches that show nothing else
    are neither part of the bank nor of the score, and all see zeros there.

    Args:
        backbone (dict | nn.Module): Frozen network with the wanted stages.
        coreset_ratio (float): Share of the patches kept in the memory bank,
            in (0, 1]; 1 keeps all. Defaults to 0.1.
        num_neighbors (int): ``b`` of the re-weighting (eq. 7), the size of
            the neighborhood in the bank; 1 gives the plain maximum. The
            paper does not state it. Defaults to 9.
        patch_features (dict): Arguments of :class:`PatchFeatures`.
        memory_bank (dict): Arguments of :class:`MemoryBank`.
        projection_dim (int | None): Dimensions of the random projection that
            the selection (only) works in; None selects in the full space.
            Defaults to 128.
        seed (int): Of the projection and of ``max_patches``. Defaults to 0.
        first_patch (int): Patch that the selection begins with: image x
            patches per image + position, row by row. Where ``max_patches``
            or a border leaves it out, the next one that is held. Defaults to
            0.
        max_patches (int): Most patches that all processes together hold
            while fitting. A larger training set is thinned out at random,
            evenly over its images. Defaults to 1,000,000.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.

    Raises:
        InputError: An argument is out of its range; the coreset would have
            fewer patches than ``num_neighbors``.
    """

    takes_borders = True

    def __init__(self,
                 backbone: dict | nn.Module,
                 coreset_ratio: float = 0.1,
                 num_neighbors: int = 9,
                 patch_features: dict | None = None,
                 memory_bank: dict | None = None,
                 projection_dim: int | None = 128,
                 seed: int = 0,
                 first_patch: int = 0,
                 max_patches: int = 1_000_000,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        check_number('coreset_ratio', coreset_ratio, above=0, high=1)
        check_number('num_neighbors', num_neighbors, low=1, integer=True)
        check_number(
            'projection_dim', projection_dim, low=1, integer=True,
            optional=True)
        check_number('seed', seed, low=0, integer=True)
        check_number('first_patch', first_patch, low=0, integer=True)
        check_number('max_patches', max_patches, low=1, integer=True)
        self.backbone = build_backbone(backbone)
        self.patch_features = PatchFeatures(
            **as_arguments('patch_features', patch_features))
        self.memory_bank = MemoryBank(
            **as_arguments('memory_bank', memory_bank))
        self.anomaly_map = AnomalyMap(sigma)
        self.coreset_ratio = coreset_ratio
        self.num_neighbors = num_neighbors
        self.projection_dim = projection_dim
        self.seed = seed
        self.first_patch = first_patch
        self.max_patches = max_patches
        self._rows = self._row_ids = None
        self._num_rows = self._per_image = 0

    def signature(self) -> dict:
        return dict(
            detector='PatchCore',
            backbone=self.backbone.name,
            stages=list(self.backbone.stages),
            embedding=self.patch_features.embedding,
            dim=self.patch_features.dim,
            patch_size=self.patch_features.patch_size)

    def extract(self, inputs: Tensor) -> Tensor:
        return self.patch_features(self.backbone(inputs))

    def score(self,
              inputs: Tensor,
              inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As :meth:`BaseDetector.score`, without the border of letterboxes.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``, zero in the border.
            inside (Tensor, optional): ``(B, 1, H, W)`` bool, False in the
                border. Defaults to None: no border.

        Returns:
            tuple[Tensor, Tensor]: ``(B,)`` and ``(B, 1, H, W)``; the map has
            no meaning in the border.
        """
        self.require_fitted()
        features = self.extract(inputs)
        queries = features.flatten(2).transpose(1, 2)
        distances, nearest = self.memory_bank.search(queries.flatten(0, 1))
        distances = distances.view(len(inputs), 1, *features.shape[-2:])
        valid = None
        if inside is not None:
            valid = valid_patches(inside, distances.shape[-2:])
            # Below any distance, so that it cannot be the largest.
            distances = distances.where(valid, -torch.ones_like(distances))
        maps = self.anomaly_map(distances, inputs.shape[-2:], valid)
        return self._image_score(queries, distances.flatten(1),
                                 nearest.view(len(inputs), -1)), maps

    def _image_score(self, queries: Tensor, distances: Tensor,
                     nearest: Tensor) -> Tensor:
        """Largest patch score, re-weighted by its neighborhood.

        Eq. 6 and 7: with q* the most anomalous patch, m* its nearest row of
        the bank and N_b(m*) the ``b`` rows nearest to m*, itself included,
        the score |q* - m*| is multiplied by
        1 - exp |q* - m*| / sum over m in N_b(m*) of exp |q* - m|.

        Args:
            queries (Tensor): ``(B, P, D)`` patch features.
            distances (Tensor): ``(B, P)`` to the nearest rows.
            nearest (Tensor): ``(B, P)`` indices of those.

        Returns:
            Tensor: ``(B,)``.
        """
        score, worst = distances.max(1, keepdim=True)
        if self.num_neighbors == 1:
            return score[:, 0]
        images = torch.arange(len(queries), device=queries.device)
        rows = self.memory_bank.rows
        around = self.memory_bank.search(
            rows[nearest.gather(1, worst)[:, 0]], self.num_neighbors)[1]
        spread = distances_to(queries[images, worst[:, 0]], rows, around)
        weight = 1 - torch.exp(score[:, 0] - spread.logsumexp(1))
        return weight * score[:, 0]

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        super().begin_fit(num_images, batch_size)
        self._rows = self._row_ids = None
        self._num_rows = 0

    def collect(self,
                features: Tensor,
                sample_ids: list[int],
                inside: Tensor | None = None) -> None:
        patches = features.flatten(2).transpose(1, 2).cpu()
        if self._rows is None:
            self._reserve(*patches.shape[1:])
        if patches.shape[1] != self._per_image:
            raise InputError(
                f'{patches.shape[1]} patches per image after '
                f'{self._per_image}; all images must reach the model in one '
                'size: resize or crop them in the pipeline.')
        valid = None
        if inside is not None:
            valid = valid_patches(
                inside, features.shape[-2:]).flatten(1).cpu()
        for i, (patch, image) in enumerate(
                zip(patches, sample_ids, strict=True)):
            kept = self._kept_patches(image)
            if valid is not None:
                kept = kept[valid[i, kept]]
            rows = slice(self._num_rows, self._num_rows + len(kept))
            self._rows[rows] = patch[kept]
            self._row_ids[rows] = image * self._per_image + kept
            self._num_rows = rows.stop

    def _reserve(self, per_image: int, dim: int) -> None:
        self._per_image = per_image
        images = math.ceil(self.num_images / get_world_size())
        quota = min(per_image, math.ceil(self.max_patches / self.num_images))
        # Pages that are never written to take no memory.
        self._rows = torch.empty(images * quota, dim)
        self._row_ids = torch.empty(images * quota, dtype=torch.int64)

    def _kept_patches(self, image: int) -> Tensor:
        """Which patches of an image to hold, however images are sharded."""
        quota = self.max_patches / self.num_images
        if quota >= self._per_image:
            return torch.arange(self._per_image)
        number = int((image + 1) * quota) - int(image * quota)
        generator = torch.Generator().manual_seed(self.seed + image)
        return torch.randperm(
            self._per_image, generator=generator)[:number].sort().values

    def estimate(self) -> None:
        """Choose the coreset together and give every process the bank."""
        rows, row_ids = self._collected()
        # At most `max_patches`, however many images there are.
        held = torch.cat(all_gather_object(row_ids)).sort().values
        total = len(held)
        size = int(self.coreset_ratio * total)
        if size < self.num_neighbors:
            raise InputError(
                f'`coreset_ratio` {self.coreset_ratio} of {total} patches '
                f'selects {size}, fewer than the {self.num_neighbors} of '
                '`num_neighbors`; raise the ratio or add images.')
        print_log(
            f'Memory bank: {size} of {total} patches in {rows.shape[1]} '
            'dimensions' +
            (f', thinned out from {self.num_images * self._per_image}'
             if total < self.num_images * self._per_image else ''), 'current')
        if size == total:
            chosen = held
        else:
            device = self.memory_bank.rows.device
            chosen = k_center_greedy(
                self._project(rows, row_ids).to(device), size,
                self._first_row(held), row_ids,
                distributed=get_world_size() > 1,
                progress=is_main_process())
        self.memory_bank.store(self._replicate(rows, row_ids, chosen))

    def _first_row(self, held: Tensor) -> int:
        number = self.num_images * self._per_image
        if self.first_patch >= number:
            raise InputError(f'`first_patch` {self.first_patch} is not one of '
                             f'the {number} patches.')
        later = held[held >= self.first_patch]
        return int(later[0] if len(later) else held[0])

    def _collected(self) -> tuple[Tensor, Tensor]:
        """Rows and ids of this process by increasing id; gives them up."""
        rows = self._rows[:self._num_rows]
        row_ids = self._row_ids[:self._num_rows]
        self._rows = self._row_ids = None
        if (row_ids.diff() < 0).any():
            row_ids, order = row_ids.sort()
            rows = rows[order]
        return rows, row_ids

    def _project(self, rows: Tensor, row_ids: Tensor) -> Tensor:
        if self.projection_dim is None:
            return rows
        matrix = random_projection(rows.shape[1], self.projection_dim,
                                   self.seed)
        # Image by image: a matrix product may round differently for another
        # number of rows, and the choice must not depend on the sharding.
        counts = torch.unique_consecutive(
            row_ids // self._per_image, return_counts=True)[1]
        projected = torch.empty(len(rows), self.projection_dim)
        for source, target in zip(
                rows.split(counts.tolist()), projected.split(counts.tolist()),
                strict=True):
            torch.mm(source, matrix, out=target)
        return projected

    def _replicate(self, rows: Tensor, row_ids: Tensor,
                   chosen: Tensor) -> Tensor:
        """The chosen rows, in order, in every process."""
        bank = torch.zeros(len(chosen), rows.shape[1])
        if len(rows):  # `max_patches` may leave a process none
            place = torch.searchsorted(row_ids, chosen).clamp(
                max=len(rows) - 1)
            here = row_ids[place] == chosen
            bank[here] = rows[place[here]]
        all_reduce(bank)
        return bank.to(self.memory_bank.rows.device)

