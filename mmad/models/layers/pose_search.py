from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_number

from .affine import compose_affine, warp
from .fitted_module import FittedModule
from .processes import all_gather_rows, broadcast_, rank
from .template_matching import edge_maps, match, rigid, turned_spectra

_PARTNERS = 8  # that an image is compared with
_STARTS = 4
_TRIED = 40  # images that a start is tried with
_ROUNDS = 6
# What an alignment with more freedom must gain in the loss.
_GAIN = 0.2
# Share of the common frame that images must fill, lest they are moved out.
_MIN_SHOWN = 0.5
_TINY = 1e-12


class PoseSearch(FittedModule):
    """Find the poses of parts that lie in any direction, without gradients.

    A spatial transformer that starts from the identity only finds poses close
    to it. This search is what it can start from instead. It compares an image
    with copies of a template in all directions, each at all shifts at once by
    a Fourier transform, and takes the best of these poses. Angles and shifts
    in between are interpolated.

    What is compared are edges: the magnitude ``m`` of the gradient of the
    images at ``2 side`` pixels, as ``m / (m + mean(m))``, reduced to ``side``
    pixels. They hardly depend on where the light comes from, which is
    the same in all images and so would be aligned in place of the parts.
    What only one of image and template shows is compared with no edges, at
    0.7 of the weight, so that little is gained by moving a part out of view.

    The template is the mean of the aligned training images. In turns, poses
    are found with the template and the template with the poses, six times,
    which makes the edges of all images more alike. It starts as the one of a
    few images that the others fit best. The common pose is such that the
    mean of the transforms is the identity.

    In the end, the pair-wise loss of FYD (arXiv 2110.04538) decides what is
    aligned. It is that of the images reduced to ``side`` pixels and without
    their local mean, in units of their contrast, since it would also fall if
    parts were moved out of view; for the same reason, images must fill half
    of the common frame. There are shifts if they lower it by a fifth, and
    rotations if they lower it by another fifth. Textures are thus left as
    they are, and so are parts that lie alike, to which resampling would do
    more harm than good. A training is preceded by a fit to 500
    images, which take 64 kB each.

    Args:
        num_angles (int): Number of directions on the circle. Defaults to 72.
        max_shift (float): Largest shift in either direction, as a share of
            the longer side. Defaults to 0.5.
        side (int): Longer side of the reduced images, even. Defaults to 64.

    Raises:
        InputError: An argument is out of its range.

    Attributes:
        spectra (Tensor): ``(3, R, 2 side, side + 1, 2)`` float32, conjugate
            spectra of the turned templates, of their frames and of their
            squares; R is ``num_angles``, or 1 for shifts only.
            ``(1, 1, 1, 1, 2)`` for no alignment.
        losses (Tensor): ``(3,)`` float32, the loss of the images as they are,
            after shifts, and after rotations and shifts.
    """

    needs_pass = False
    images_before_training = 500
    spectra: Tensor
    losses: Tensor

    def __init__(self,
                 num_angles: int = 72,
                 max_shift: float = 0.5,
                 side: int = 64) -> None:
        super().__init__()
        check_number('num_angles', num_angles, low=4, integer=True)
        check_number('max_shift', max_shift, above=0, high=0.5)
        check_number('side', side, low=8, integer=True)
        self.num_angles = num_angles
        self.max_shift = max_shift
        self.side = 2 * (side // 2)
        self.register_fitted('spectra', ndim=5)
        self.register_fitted('losses')

    def settings(self) -> dict:
        """Return the settings that the poses depend on."""
        return dict(
            num_angles=self.num_angles,
            max_shift=self.max_shift,
            side=self.side)

    @property
    def finds_poses(self) -> bool:
        """Whether the fit has decided that there is something to align."""
        return len(self.spectra) > 1

    def summary(self) -> str:
        """Say what the fit has decided on, and by which losses."""
        kind = 'rotations and shifts'
        if self.spectra.shape[1] == 1:
            kind = 'shifts only'
        if not self.finds_poses:
            kind = 'nothing, as none brings them a fifth closer'
        none, shifts, poses = self.losses.tolist()
        return (f'PoseSearch aligns {kind}: the pair-wise loss is {none:.4f} '
                f'as they are, {shifts:.4f} after shifts, {poses:.4f} after '
                'rotations and shifts.')

    def reset(self) -> None:
        super().reset()
        self._ids: list[int] = []
        self._reduced: list[Tensor] = []

    def update(self, features: Tensor, ids: list[int]) -> None:
        """Take in new images ``(B, 3, H, W)``."""
        small = self._reduce(features)
        self._reduced.append(
            torch.cat(
                [edge_maps(small), F.avg_pool2d(small, 2)], 1))
        self._ids += ids

    def finalize(self) -> None:
        """Align the images of all processes, and decide what is aligned."""
        reduced = torch.cat(self._reduced)
        order = all_gather_rows(torch.tensor(self._ids)).argsort()
        reduced = all_gather_rows(reduced)[order.to(reduced.device)]
        self.reset()
        self.losses = reduced.new_zeros(3)
        # The others only wait: it takes seconds, and is the same in all.
        spectra = reduced.new_zeros(1, 1, 1, 1, 2)
        if rank() == 0:
            spectra, self.losses = self._fit(
                self._on_canvas(reduced[:, 0]), reduced[:, 1:])
        shape = broadcast_(torch.tensor(spectra.shape))
        self.spectra = broadcast_(
            spectra.new_empty(*shape.tolist()) if rank() else spectra)
        broadcast_(self.losses)

    def forward(self, images: Tensor) -> Tensor:
        """Find the poses of images.

        Args:
            images (Tensor): ``(B, 3, H, W)``.

        Returns:
            Tensor: Matrices ``(B, 3, 3)`` that bring the images into the
            common pose, see :mod:`~mmad.models.layers.affine`.
        """
        size = images.shape[-2], images.shape[-1]
        if not self.finds_poses:
            return torch.eye(3).to(self.spectra).expand(len(images), 3, 3)
        edges = self._on_canvas(edge_maps(self._reduce(images))[:, 0])
        angle, shift, _ = match(edges,
                                torch.view_as_complex(self.spectra.float()),
                                self.max_shift)
        sides = shift.new_tensor(_reduced_size(size, self.side)).flip(0)
        return rigid(angle, shift * self.side / sides, size)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        spectrum = 2 * self.side, self.side + 1, 2
        allowed = ((0, ) * 5, (1, 1, 1, 1, 2), (3, 1, *spectrum),
                   (3, self.num_angles, *spectrum))
        if (tuple(self.spectra.shape) not in allowed
                or not self.spectra.isfinite().all()):
            raise InputError(
                f'the tensor "{prefix}spectra" of the checkpoint is not one '
                'that a PoseSearch with these settings writes; it is damaged '
                'or of another model: fit again.')

    def _reduce(self, images: Tensor) -> Tensor:
        """Reduce images to twice ``side`` pixels."""
        height, width = _reduced_size(images.shape[-2:], self.side)
        return F.adaptive_avg_pool2d(images.float(), (2 * height, 2 * width))

    def _on_canvas(self, edges: Tensor) -> Tensor:
        """Put edges ``(B, h, w)`` in the middle of a square without any."""
        border = torch.cat(
            [edges[:, 0], edges[:, -1], edges[:, 1:-1, 0], edges[:, 1:-1, -1]],
            1)
        edges = edges - border.quantile(0.5, dim=1)[:, None, None]
        down, right = ((self.side - side) // 2 for side in edges.shape[1:])
        return F.pad(edges, (right, right, down, down))

    def _fit(self, edges: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Align edges, and compare the losses of the images.

        Args:
            edges (Tensor): ``(N, side, side)``.
            images (Tensor): The same images, ``(N, 3, h, w)``.

        Returns:
            tuple[Tensor, Tensor]: ``spectra`` and ``losses``.
        """
        spectra = edges.new_zeros(1, 1, 1, 1, 2)
        images = _without_mean(images)
        losses = [_pair_loss(images)]
        least = losses[0]
        for num_angles in (1, self.num_angles):
            found, (angle, shift) = self._align(edges, num_angles)
            sides = shift.new_tensor(images.shape[:1:-1])
            matrix = rigid(angle, shift * self.side / sides, images.shape[-2:])
            loss = _pair_loss(warp(images, matrix))
            shown = warp(torch.ones_like(images), matrix, 'zeros').mean()
            if shown < _MIN_SHOWN:
                loss = losses[0]
            if loss < (1 - _GAIN) * least:
                spectra, least = torch.view_as_real(found), loss
            losses.append(loss)
        return spectra.contiguous(), torch.stack(losses)

    def _align(self, edges: Tensor,
               num_angles: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Find poses and template in turns.

        Returns:
            tuple: The spectra, angles ``(N,)`` and shifts ``(N, 2)``.
        """
        spectra = self._best_start(edges, num_angles)
        angle, shift, _ = match(edges, spectra, self.max_shift)
        for _ in range(_ROUNDS):
            pose = _center(rigid(angle, shift, edges.shape[1:]))
            template = warp(edges[:, None], pose, 'zeros').mean(0)
            spectra = turned_spectra(template, num_angles)
            angle, shift, _ = match(edges, spectra, self.max_shift)
        return spectra, (angle, shift)

    def _best_start(self, edges: Tensor, num_angles: int) -> Tensor:
        tried = edges[_spread(len(edges), _TRIED)]
        starts = edges[_spread(len(edges), _STARTS)]
        spectra = [turned_spectra(start[None], num_angles) for start in starts]
        fits = torch.stack(
            [match(tried, one, self.max_shift)[2].sum() for one in spectra])
        # In units of the edges that a start has.
        return spectra[int(
            (fits / starts.norm(dim=(1, 2)).clamp(min=_TINY)).argmax())]


def _reduced_size(size: Sequence[int], side: int) -> tuple[int, int]:
    """Scale a height and width to a longer side, to even numbers."""
    height, width = (
        max(2, 2 * round(side * one / max(size) / 2)) for one in size)
    return height, width


def _center(poses: Tensor) -> Tensor:
    """Change the common pose so that the mean transform is the identity.

    The angle is that of the mean matrix. The shift brings the mean of the
    points that the centers of the images are brought to into the center,
    which is where parts in all directions are.
    """
    turn = poses[:, :2, :2].mean(0)
    angle = torch.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])
    centers = -(poses[:, :2, :2].mT @ poses[:, :2, 2:])[..., 0]
    common = rigid(-angle[None], centers.mean(0)[None], (1, 1))
    return compose_affine(poses, common.expand_as(poses))


def _without_mean(images: Tensor) -> Tensor:
    """Subtract local means, and with them most of the light."""
    reach = max(images.shape[2:]) // 8
    mean = F.avg_pool2d(
        images, 2 * reach + 1, 1, reach, count_include_pad=False)
    return images - mean


def _pair_loss(images: Tensor) -> Tensor:
    """Compare each image with some others, in units of their contrast.

    Images without content, or smoothed by resampling, are thus not closer.
    """
    norm = torch.linalg.vector_norm
    if len(images) < 2:
        return images.new_zeros(())
    # With others from all over the set, which may be in an order.
    steps = {1 + step for step in _spread(len(images) - 1, _PARTNERS)}
    distances = [
        norm(images - images.roll(step, 0), dim=1).mean() for step in steps
    ]
    contrast = norm(images, dim=1).mean().clamp(min=_TINY)
    return torch.stack(distances).mean() / contrast


def _spread(number: int, wanted: int) -> list[int]:
    """Choose up to so many numbers below ``number``, evenly."""
    wanted = min(number, wanted)
    return [i * number // wanted for i in range(wanted)]
