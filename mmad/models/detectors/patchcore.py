import math

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.coreset_bank import CoresetBank
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
            in (0, 1]; 1 keeps all, without a selection. Defaults to 0.1.
        selection (str): How they are chosen: ``'greedy'`` (Algorithm 1) or,
            as the ablation of the paper, ``'random'``. Defaults to
            ``'greedy'``.
        num_neighbors (int): ``b`` of the re-weighting (eq. 7), the size of
            the neighborhood in the bank; 1 gives the plain maximum. The
            paper does not state it. Defaults to 9.
        num_patch_neighbors (int): ``k`` nearest neighbors that the score of a
            patch is taken over, the root of the mean of the squared
            distances: with 1 the distance of eq. 6, with more the root of
            what the authors' code takes. More than 1 needs
            ``num_neighbors=1``. Defaults to 1.
        patch_features (dict): Arguments of :class:`PatchFeatures`.
        memory_bank (dict): ``backend``, ``index`` and ``nprobe`` of
            :class:`~mmad.models.layers.MemoryBank`.
        projection_dim (int | None): Dimensions of the random projection that
            the greedy selection (only) works in; None selects in the full
            space. Defaults to 128.
        seed (int): Of the projection and of the random selection. Defaults to
            0.
        first_patch (int): Patch that the greedy selection begins with: image
            x patches per image + position, row by row. Where the
            ``memory_budget`` or a border leaves it out, the next one that is
            held. Defaults to 0.
        memory_budget (int): Bytes that patches take in each process while
            fitting, with what the selection needs. A larger training set is
            thinned out with a guarantee, see
            :class:`~mmad.models.layers.CoresetBank`. Defaults to 4 GiB.
        held_dtype (str): Of patches while fitting, ``'float32'`` or
            ``'float16'``, so that more fit into the budget; the rows of the
            bank are then rounded. Defaults to ``'float32'``.
        held_dir (str, optional): Folder for a file of the patches of each
            process while fitting, so that they take no memory; it is gone
            with the process. Defaults to None: in memory.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.

    Raises:
        InputError: An argument is out of its range, or several patch
            neighbors are to be re-weighted; in a fit, the coreset would have
            fewer patches than a score takes neighbors.
    """

    takes_borders = True

    def __init__(self,
                 backbone: dict | nn.Module,
                 coreset_ratio: float = 0.1,
                 selection: str = 'greedy',
                 num_neighbors: int = 9,
                 num_patch_neighbors: int = 1,
                 patch_features: dict | None = None,
                 memory_bank: dict | None = None,
                 projection_dim: int | None = 128,
                 seed: int = 0,
                 first_patch: int = 0,
                 memory_budget: int = 4 << 30,
                 held_dtype: str = 'float32',
                 held_dir: str | None = None,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        check_number('num_neighbors', num_neighbors, low=1, integer=True)
        check_number(
            'num_patch_neighbors', num_patch_neighbors, low=1, integer=True)
        if min(num_neighbors, num_patch_neighbors) > 1:
            raise InputError(
                f'`num_patch_neighbors` {num_patch_neighbors} needs '
                '`num_neighbors=1`, since the re-weighting of the image score '
                'is defined for the distance from a single neighbor.')
        self.backbone = build_backbone(backbone)
        self.patch_features = PatchFeatures(
            **as_arguments('patch_features', patch_features))
        self.memory_bank = CoresetBank(
            coreset_ratio, projection_dim, seed, first_patch,
            memory_budget, held_dtype, held_dir,
            max(num_neighbors, num_patch_neighbors), selection,
            **as_arguments('memory_bank', memory_bank))
        self.num_neighbors = num_neighbors
        self.num_patch_neighbors = num_patch_neighbors
        self.anomaly_map = AnomalyMap(sigma)

    def fingerprint(self) -> dict:
        features = self.patch_features
        found = dict(
            super().fingerprint(),
            embedding=features.embedding,
            dim=features.dim,
            patch_size=features.patch_size)
        if features.stage_dim != features.dim:
            found['stage_dim'] = features.stage_dim
        return found

    def extract(self, inputs: Tensor) -> Tensor:
        return self.patch_features(self.backbone(inputs))

    def score(self,
              inputs: Tensor,
              inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score images, leaving out the border of letterboxes.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``, zero in the border.
            inside (Tensor, optional): ``(B, 1, H, W)`` bool, False in the
                border. Defaults to None: no border.

        Returns:
            tuple[Tensor, Tensor]: ``(B,)`` and ``(B, 1, H, W)``; the map has
            no meaning in the border.
        """
        features = self.extract(inputs)
        queries = features.flatten(2).transpose(1, 2)
        # The patch scores of eq. 6, if of one neighbor.
        distances, nearest = self.memory_bank(
            queries.flatten(0, 1), self.num_patch_neighbors)
        nearest = nearest[:, 0].view(-1, queries.shape[1])
        if self.num_patch_neighbors > 1:
            distances = distances.square().mean(1).sqrt()
        # Not by the number of images, which an exported graph leaves open.
        distances = distances.view(-1, 1, *features.shape[-2:])
        valid = None
        if inside is not None:
            valid = valid_patches(inside, distances.shape[-2:])
            # Below any distance, so that it cannot be the largest.
            distances = distances.where(valid, -torch.ones_like(distances))
        maps = self.anomaly_map(distances, inputs.shape[-2:], valid)
        return self._image_score(queries, distances.flatten(1), nearest), maps

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
        score, worst = distances.max(1, keepdim=True)  # |q* - m*|, q*
        if self.num_neighbors == 1:
            return score[:, 0]
        bank = self.memory_bank
        around = bank(
            bank.rows_at(nearest.gather(1, worst)[:, 0]),
            self.num_neighbors)[1]
        # |q* - m| of the rows m in N_b(m*).
        worst = worst[..., None].expand(-1, -1, queries.shape[2])
        spread = bank.distances(queries.gather(1, worst)[:, 0], around)
        weight = 1 - torch.exp(score[:, 0] - spread.logsumexp(1))
        return weight * score[:, 0]

    def end_pass(self) -> None:
        super().end_pass()
        bank = self.memory_bank
        text = (f'Memory bank: {len(bank)} of {bank.num_held} patches in '
                f'{bank.rows.shape[1]} dimensions')
        if bank.thinned_out:
            text += f', thinned out from {bank.num_patches}'
        if bank.covering is not None:
            radius, factor = bank.covering
            text += f'; every patch is within {radius:.4g} of the bank'
            if math.isfinite(factor):
                text += f', at most {factor:.2f} times the least possible'
        print_log(text, 'current')
