from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_number, check_numbers

from .exact_sums import to_fixed_point
from .fitted_module import FittedModule
from .processes import all_reduce_
from .pyramid import to_grid

# Of the patches of a PCA: enough for its axes, few enough that the sums over
# all patches are exact.
_BITS = 12


class ChannelReduction(FittedModule):
    """Concatenate the stages at each position and keep fewer channels.

    PaDiM (arXiv 2011.08785):

    - ``'random'``: one random subset of the channels, for all positions.
    - ``'pca'``: the leading principal components of the patches of all
      positions and images, centered and not whitened. The paper does not say
      what its PCA is fitted to. It takes a pass over the images of its own.
    - ``'given'``: the channels ``indices``, in ascending order; their order
      changes no Mahalanobis distance.
    - ``'none'``: all channels.

    Components stay as they are for an image that is left out, since one of
    many images hardly moves them. They suit it a little better than they
    would without it, so its score is, if anything, too low.

    Args:
        kind (str): ``'random'``, ``'pca'``, ``'given'`` or ``'none'``.
        dim (int, optional): Channels to keep; None for ``'given'`` and
            ``'none'``.
        seed (int): Of the random subset. Defaults to 0.
        indices (Sequence[int], optional): Channels of the concatenated
            stages, from 0, for ``'given'`` only. Defaults to None.

    Raises:
        InputError: An argument is out of range, the stages have fewer
            channels than that, or a state has other channels than
            ``indices``.
    """

    # Components of many images are those of a few more.
    needs_update = False
    progress_is_whole = True
    can_leave_out = True
    indices: Tensor
    mean: Tensor
    basis: Tensor

    def __init__(self,
                 kind: str,
                 dim: int | None,
                 seed: int = 0,
                 indices: Sequence[int] | None = None) -> None:
        super().__init__()
        check_choice('reduction', kind, ('random', 'pca', 'given', 'none'))
        check_number('dim', dim, low=1, integer=True, optional=True)
        check_number('seed', seed, low=0, integer=True)
        if (dim is None) != (kind in ('given', 'none')):
            raise InputError(
                f'`dim` must be a number for reduction "random" or "pca" and '
                f'None for "given" or "none", got {dim} for "{kind}".')
        _check_indices(kind, indices)
        self.kind = kind
        self.dim = dim
        self.seed = seed
        # Only a PCA learns from features.
        self.needs_pass = kind == 'pca'
        self._given = [] if indices is None else sorted(map(int, indices))
        if kind in ('random', 'given'):
            self.register_fitted('indices', dtype=torch.int64)
        if kind == 'pca':
            self.register_fitted('mean')
            self.register_fitted('basis', ndim=2)

    def reset(self) -> None:
        super().reset()
        self._count = 0
        self._sum = self._products = torch.empty(0)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Join the stages, and reduce them once fitted.

        Args:
            maps (Sequence[Tensor]): ``(B, C_k, H_k, W_k)`` each; the first
                sets the grid.

        Returns:
            Tensor: ``(B, dim, H_1, W_1)``, or with ``sum of C_k`` channels.
        """
        grid = maps[0].shape[-2:]
        channels = [level.shape[1] for level in maps]
        if self.dim is not None and self.dim > sum(channels):
            raise InputError(f'`dim` is {self.dim}, but the stages have '
                             f'{sum(channels)} channels together; lower it.')
        if self._given and self._given[-1] >= sum(channels):
            raise InputError(
                f'`indices` has channel {self._given[-1]}, but the stages '
                f'have {sum(channels)} channels together, from 0; give those '
                'of these stages.')
        if self.kind == 'none' or (self.kind == 'pca' and not self.is_fitted):
            return torch.cat([to_grid(level, grid) for level in maps], 1)
        # Reduced before it is brought to the fine grid, a coarse stage costs
        # little.
        if self.kind in ('random', 'given'):
            if not len(self.indices):
                self._choose(self._draw(sum(channels)))
            parts = []
            for level, start in zip(maps, accumulate(channels, initial=0)):
                own = [
                    i - start for i in self._chosen
                    if start <= i < start + level.shape[1]
                ]
                if own:
                    # The channels of a position side by side, as they are
                    # used later.
                    part = level[:, own].contiguous(
                        memory_format=torch.channels_last)
                    parts.append(to_grid(part, grid))
            return torch.cat(parts, 1)
        return sum(  # type: ignore[return-value]
            to_grid(
                torch.einsum('bchw,cd->bhwd', level - mean[:, None, None],
                             basis).permute(0, 3, 1, 2), grid)
            for level, mean, basis in zip(maps, self.mean.split(channels),
                                          self.basis.split(channels)))

    def _draw(self, channels: int) -> Tensor:
        if self._given:
            return self.indices.new_tensor(self._given)
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(channels, generator=generator)[:self.dim]
        return chosen.sort().values.to(self.indices.device)

    def _choose(self, indices: Tensor) -> None:
        self.indices = indices
        # As numbers, so that the model can be exported.
        self._chosen = indices.tolist()

    def update(self, features: Tensor, ids: list[int]) -> None:
        """Add features ``(B, D, h, w)`` to what the PCA is fitted to."""
        patches = to_fixed_point(features.transpose(0, 1).flatten(1), _BITS)
        if not len(self._sum):
            dim = len(patches)
            self._sum = patches.new_zeros(dim)
            self._products = patches.new_zeros(dim, dim)
        self._count += patches.shape[1]
        self._sum += patches.sum(1)
        self._products.addmm_(patches, patches.T)

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        return dict(
            count=torch.tensor(self._count),
            sum=self._sum,
            products=self._products)

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        self._count = int(state['count'])
        self._sum = state['sum'].to(self.mean.device)
        self._products = state['products'].to(self.mean.device)

    def finalize(self) -> None:
        """Turn the sums of all processes into the components."""
        count = torch.tensor(self._count)
        for value in (count, self._sum, self._products):
            all_reduce_(value)
        mean = self._sum / int(count)
        covariance = self._products / int(count) - torch.outer(mean, mean)
        axes = torch.linalg.eigh(covariance)[1].flip(1)[:, :self.dim]
        # The sign of a component is arbitrary; its largest entry decides.
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.basis = (axes * largest.sign()).to(self.basis).contiguous()
        self.mean = mean.to(self.mean)
        self._sum = self._products = torch.empty(0)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.kind in ('random', 'given'):
            if self._given and self.indices.tolist() != self._given:
                raise InputError(
                    'the checkpoint was fitted with other channels than '
                    '`indices` of the config; use the config that it was '
                    'fitted with.')
            self._choose(self.indices)


def _check_indices(kind: str, indices: Sequence[int] | None) -> None:
    if (indices is None) != (kind != 'given'):
        raise InputError(
            '`indices` must be a list of channels for reduction "given" and '
            f'None for the others, got {indices!r:.60} for "{kind}".')
    if indices is not None:
        check_numbers('indices', indices, low=0, integer=True)
        if not indices or len(set(indices)) < len(indices):
            raise InputError('`indices` must name at least one channel, and '
                             'each once.')
