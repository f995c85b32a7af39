from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.gallery import Gallery
from mmad.registry import MODELS
from mmad.utils.arguments import check_choice, check_flag, check_number

from .fit_detector import FitDetector


@MODELS.register_module()
class SPADE(FitDetector):
    """SPADE: nearest normal images, then nearest positions in them.

    Implementation of `Sub-Image Anomaly Detection with Deep Pyramid
    Correspondences <https://arxiv.org/abs/2005.02357>`_ (Cohen and Hoshen,
    2020).

    The score of an image is the mean squared distance of its pooled features
    from those of the ``num_neighbors`` nearest normal images. The map is, at
    each position, the mean squared distance of its pyramid feature from the
    nearest pyramid features anywhere in those images, up-sampled and
    smoothed.

    Args:
        backbone (dict | nn.Module): Frozen network with the stages below.
        image_stage (str): Stage whose mean over all positions is the image
            feature. Defaults to ``'layer4'``.
        pyramid_stages (Sequence[str]): Stages of the pyramid features, the
            finest first. Defaults to the first three.
        num_neighbors (int): ``K``, nearest images; all where there are
            fewer. Defaults to 50.
        num_pixel_neighbors (int): ``kappa``, nearest positions; all where
            there are fewer. Defaults to 1.
        fusion (str): ``'concat'`` searches all stages of the pyramid jointly;
            ``'per_level'`` searches each alone on its own grid and averages
            the maps, as the repositories byungjae89/SPADE-pytorch and
            any-tech/SPADE-fast do. Defaults to ``'concat'``.
        gallery (str): ``'topk'`` looks for positions in the nearest images,
            as the paper does; ``'all'`` in all images, as surveys word it.
            Defaults to ``'topk'``.
        squared (bool): Whether scores and maps are means of squared
            distances; if not, of distances, as in SPADE-pytorch. Defaults to
            True.
        gallery_dtype (str): Of the stored pyramids, ``'float32'`` or
            ``'float16'``. Defaults to ``'float32'``.
        gallery_dir (str, optional): Folder for the stored pyramids where they
            exceed the memory; see
            :class:`~mmad.models.layers.PyramidStore`. Defaults to None: they
            are part of the checkpoint.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(self,
                 backbone: dict | nn.Module,
                 image_stage: str = 'layer4',
                 pyramid_stages: Sequence[str] = ('layer1', 'layer2',
                                                  'layer3'),
                 num_neighbors: int = 50,
                 num_pixel_neighbors: int = 1,
                 fusion: str = 'concat',
                 gallery: str = 'topk',
                 squared: bool = True,
                 gallery_dtype: str = 'float32',
                 gallery_dir: str | None = None,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        check_choice('fusion', fusion, ('concat', 'per_level'))
        check_choice('gallery', gallery, ('topk', 'all'))
        check_flag('squared', squared)
        check_number('num_neighbors', num_neighbors, low=1, integer=True)
        check_number(
            'num_pixel_neighbors', num_pixel_neighbors, low=1, integer=True)
        self.backbone = build_backbone(backbone)
        if isinstance(pyramid_stages, str):
            pyramid_stages = (pyramid_stages, )
        if not isinstance(pyramid_stages, Sequence) or not all(
                isinstance(stage, str)
                for stage in (image_stage, *pyramid_stages)):
            raise InputError('`image_stage` must be the name of a stage and '
                             '`pyramid_stages` a list of names, got '
                             f'{image_stage!r} and {pyramid_stages!r}.')
        missing = {image_stage, *pyramid_stages} - set(self.backbone.stages)
        if missing or not pyramid_stages:
            raise InputError(
                f'`image_stage` and `pyramid_stages` must be `stages` of the '
                f'backbone, which lacks {sorted(missing)}.')
        self.image_stage = image_stage
        self.pyramid_stages = tuple(pyramid_stages)
        self.num_neighbors = num_neighbors
        self.num_pixel_neighbors = num_pixel_neighbors
        self.fusion = fusion
        self.search_all = gallery == 'all'
        self.squared = squared
        self.gallery = Gallery(
            len(self.pyramid_stages), gallery_dtype, gallery_dir)
        self.anomaly_map = AnomalyMap(sigma)

    def fingerprint(self) -> dict:
        pyramids = self.gallery.pyramids
        return dict(
            detector='SPADE',
            backbone=self.backbone.name,
            image_stage=self.image_stage,
            pyramid_stages=list(self.pyramid_stages),
            gallery_dtype=str(pyramids.dtype),
            gallery_dir=None if pyramids.folder is None else 'a folder')

    def extract(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Image features ``(B, C)`` and stages ``(B, C_k, h_k, w_k)``."""
        maps = dict(zip(self.backbone.stages, self.backbone(inputs)))
        image_features = maps[self.image_stage].mean((2, 3))
        return image_features, *(maps[stage] for stage in self.pyramid_stages)

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        image_features, *levels = self.extract(inputs)
        self.gallery.pyramids.check_grids(levels)
        scores, nearest = self._find_images(image_features)
        # Section 3.3: the nearest positions in these images.
        maps = [
            self._map([level[i] for level in levels], images, inputs)
            for i, images in enumerate(nearest.tolist())
        ]
        return scores, torch.cat(maps)

    def score_in_graph(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        image_features, *levels = self.extract(inputs)
        scores, nearest = self._find_images(image_features)
        maps = []
        for stages in self._pyramids():
            squares = self.gallery.nearest_in_graph(levels, nearest,
                                                    self.num_pixel_neighbors,
                                                    stages)
            maps.append(
                self.anomaly_map(
                    self._mean(squares)[:, None], inputs.shape[-2:]))
        return scores, torch.stack(maps).mean(0)

    def _find_images(self, image_features: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``(B,)`` and the images ``(B, K)`` to look in."""
        # Section 3.2: the K nearest images, and the score from them.
        distances, nearest = self.gallery(image_features, self.num_neighbors)
        if self.search_all:
            nearest = self.gallery(image_features,
                                   len(self.gallery))[1].sort(1).values
        return self._mean(distances.square()), nearest

    def _mean(self, squares: Tensor) -> Tensor:
        """The mean over neighbors of distances ``(..., k)``, given squared."""
        return (squares if self.squared else squares.sqrt()).mean(-1)

    def _pyramids(self) -> list[list[int]]:
        """The stages of each pyramid that is searched by itself."""
        stages = list(range(len(self.pyramid_stages)))
        return [stages] if self.fusion == 'concat' else [[s] for s in stages]

    def _map(self, levels: list[Tensor], images: list[int],
             inputs: Tensor) -> Tensor:
        """Compare the stages ``(C_k, h_k, w_k)`` of one image with others.

        Returns:
            Tensor: ``(1, 1, H, W)``, the mean distance of each position from
            the nearest positions.
        """
        maps = []
        for stages in self._pyramids():
            squares = self.gallery.nearest_positions(levels, images,
                                                     self.num_pixel_neighbors,
                                                     stages)
            maps.append(
                self.anomaly_map(
                    self._mean(squares)[None, None], inputs.shape[-2:]))
        return torch.stack(maps).mean(0)
