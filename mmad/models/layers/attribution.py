from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmad.utils.arguments import check_choice, check_number

METHODS = ('gradients', 'smooth_grad', 'gbp')


class Attribution(nn.Module):
    """Attribution of a value to the pixels of the image by its gradient.

    The map of an image is the magnitude of the gradient, summed over the
    channels. It takes one backward pass per batch, since the images of a batch
    do not depend on each other, and works where gradients are switched off.

    Args:
        method (str): ``'gradients'``; ``'smooth_grad'``, the mean over noisy
            copies of the image (Smilkov et al., 2017); or ``'gbp'``, guided
            back-propagation, which lets only positive gradients through the
            ReLUs (Springenberg et al., 2015). Defaults to ``'gradients'``.
        percentile (float, optional): Scale each map so that its minimum
            becomes 0 and this percentile 1, and clip it to that range; 100 is
            the maximum. The maps of different images can then not be compared.
            Defaults to None: no scaling.
        num_samples (int): Number of noisy copies. Defaults to 50.
        noise (float): Standard deviation of the noise as a share of the range
            of the image, its largest minus its smallest value. Defaults to
            0.0025, as in the code of MKD, which has ``(0.05 / range)^2`` for
            images from 0 to 1.
        seed (int): Seed of the noise, which is the same for every image.
            Defaults to 0.

    Raises:
        InputError: An argument is unknown or out of its range.
    """

    def __init__(self,
                 method: str = 'gradients',
                 percentile: float | None = None,
                 num_samples: int = 50,
                 noise: float = 0.0025,
                 seed: int = 0) -> None:
        super().__init__()
        check_choice('method', method, METHODS)
        check_number(
            'percentile', percentile, above=0, high=100, optional=True)
        check_number('num_samples', num_samples, low=1, integer=True)
        check_number('noise', noise, low=0)
        check_number('seed', seed, low=0, integer=True)
        self.method = method
        self.percentile = percentile
        self.num_samples = num_samples
        self.noise = noise
        self.seed = seed

    @torch.compiler.disable
    def forward(self, function: Callable[[Tensor], Tensor], inputs: Tensor,
                network: nn.Module) -> tuple[Tensor, Tensor]:
        """Evaluate a function of images and attribute its values.

        Args:
            function (Callable): Maps images ``(B, 3, H, W)`` to values
                ``(B,)``, each of which depends on its own image alone.
            inputs (Tensor): ``(B, 3, H, W)``.
            network (nn.Module): Network whose ReLUs ``'gbp'`` guides.

        Returns:
            tuple[Tensor, Tensor]: Values ``(B,)`` and maps ``(B, 1, H, W)``.
        """
        # A tensor of the inference mode cannot take part in a backward pass,
        # its copy can.
        with torch.inference_mode(False), ExitStack() as stack:
            inputs = inputs.clone()
            if self.method == 'gbp':
                stack.enter_context(_guided(network))
            if self.method != 'smooth_grad':
                values, maps = _magnitudes(function, inputs)
                return values, self._scale(maps)
            with torch.no_grad():
                values = function(inputs)
            total: Any = sum(
                self._scale(_magnitudes(function, noisy)[1])
                for noisy in self._noisy(inputs))
            return values, total / self.num_samples

    def _noisy(self, inputs: Tensor) -> Iterator[Tensor]:
        extent = (1, 2, 3)
        std = self.noise * (
            inputs.amax(extent, keepdim=True) -
            inputs.amin(extent, keepdim=True))
        # Drawn on the CPU for one image, so that device and batch do not
        # matter.
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.num_samples):
            noise = torch.randn(inputs.shape[1:], generator=generator)
            yield inputs + std * noise.to(inputs)

    def _scale(self, maps: Tensor) -> Tensor:
        if self.percentile is None:
            return maps
        ordered = maps.flatten(1).sort().values
        place = self.percentile / 100 * (ordered.shape[1] - 1)
        below = ordered[:, int(place)]
        above = ordered[:, min(int(place) + 1, ordered.shape[1] - 1)]
        top = torch.lerp(below, above, place % 1)
        low = ordered[:, 0]
        span = (top - low).clamp_min(torch.finfo(maps.dtype).tiny)
        shape = (-1, 1, 1, 1)
        return ((maps - low.view(shape)) / span.view(shape)).clamp(0, 1)


def _magnitudes(function: Callable[[Tensor], Tensor],
                inputs: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        values = function(inputs)
        gradients, = torch.autograd.grad(values.sum(), inputs)
    return values.detach(), gradients.abs().sum(1, keepdim=True)


@contextmanager
def _guided(network: nn.Module) -> Iterator[None]:
    handles = [
        module.register_full_backward_hook(
            lambda module, incoming, outgoing:
            (incoming[0].clamp_min(0), ))  # type: ignore[index]
        for module in network.modules() if isinstance(module, nn.ReLU)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
