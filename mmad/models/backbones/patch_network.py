import torch.nn.functional as F
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.registry import MODELS
from mmad.utils.arguments import check_choice, check_number

_POOL = 'pool'
# Kernel and channels of each convolution; poolings are 2 x 2 with stride 2.
_LAYERS: dict[int, tuple] = {
    17: ((6, 128), (5, 256), (5, 256), (4, None)),
    33: ((5, 128), _POOL, (5, 256), _POOL, (2, 256), (4, None)),
    65:
    ((5, 128), _POOL, (5, 128), _POOL, (5, 128), _POOL, (4, 256), (1, None)),
}
_SLOPE = 0.005
_PADDINGS = ('reflect', 'replicate', 'zeros')


@MODELS.register_module()
class PatchNetwork(nn.Module):
    """A network that describes a patch by a vector, and images densely.

    Teacher and students of Uninformed Students (Bergmann et al., CVPR 2020)
    all have this form. Convolutions without padding, each but the last
    followed by a leaky ReLU with slope 0.005, bring a patch of ``p`` x ``p``
    pixels down to 1 x 1:

    ====  ======================================================
    p     layers (kernel x kernel, channels), with 2 x 2 pooling
    ====  ======================================================
    17    6, 128; 5, 256; 5, 256; 4, d
    33    5, 128; pool; 5, 256; pool; 2, 256; 4, d
    65    5, 128; pool; 5, 128; pool; 5, 128; pool; 4, 256; 1, d
    ====  ======================================================

    :meth:`dense` describes the patches around all pixels of an image in one
    pass. It is the same function: poolings lose their stride, and what
    follows them works on every other row and column, and on those between
    them likewise (Bailer et al., "Fast Dense Feature Extraction with
    Convolutional Neural Networks that have Pooling or Striding Layers",
    BMVC 2017). Dilated convolutions would do the same, but the way back
    through these takes more than twice as long on a CPU.

    Args:
        patch_size (int): ``p``: 17, 33 or 65 pixels.
        width (float): Factor of the channels of all convolutions but the
            last. Defaults to 1.
        out_channels (int): Dimensions ``d`` of a descriptor. Defaults to 128.
        padding (str): What lies beyond the border of an image: ``'reflect'``,
            ``'replicate'`` or ``'zeros'``. Defaults to ``'reflect'``.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(self,
                 patch_size: int,
                 width: float = 1.0,
                 out_channels: int = 128,
                 padding: str = 'reflect') -> None:
        super().__init__()
        check_number('patch_size', patch_size, low=1, integer=True)
        if patch_size not in _LAYERS:
            raise InputError(
                f'`patch_size` must be one of {", ".join(map(str, _LAYERS))}, '
                f'got {patch_size}.')
        check_number('width', width, above=0)
        check_number('out_channels', out_channels, low=1, integer=True)
        check_choice('padding', padding, _PADDINGS)
        self.patch_size = patch_size
        self.width = width
        self.out_channels = out_channels
        self.padding = padding
        layers: list[nn.Module] = []
        old, field, stride = 3, 1, 1
        for layer in _LAYERS[patch_size]:
            if layer == _POOL:
                layers.append(nn.MaxPool2d(2))
                field, stride = field + stride, 2 * stride
                continue
            kernel, channels = layer
            new = out_channels if channels is None else max(
                1, round(width * channels))
            layers += [
                nn.Conv2d(old, new, kernel),
                # In place, which halves what a backward pass has to keep.
                nn.LeakyReLU(_SLOPE, inplace=True)
            ]
            old, field = new, field + (kernel - 1) * stride
        self.layers = nn.Sequential(*layers[:-1])
        # Poolings round down, so the last rows and columns of a patch may
        # have no part in it.
        self.receptive_field = field

    def settings(self) -> dict:
        """Return the settings that weights must have been trained with."""
        return dict(
            patch_size=self.patch_size,
            width=self.width,
            out_channels=self.out_channels)

    def forward(self, patches: Tensor) -> Tensor:
        """Describe patches.

        Args:
            patches (Tensor): ``(B, 3, p, p)``.

        Returns:
            Tensor: ``(B, d)``.
        """
        return self.layers(patches).flatten(1)

    def dense(self, images: Tensor) -> Tensor:
        """Describe the patch around each pixel.

        The descriptor at row r and column c is that of the patch which begins
        at row r - p // 2 and column c - p // 2, of the padded image.

        Args:
            images (Tensor): ``(B, 3, H, W)``.

        Returns:
            Tensor: ``(B, d, H, W)``.

        Raises:
            InputError: The images are too small to be reflected.
        """
        before = self.patch_size // 2
        after = self.receptive_field - 1 - before
        if self.padding == 'reflect' and min(images.shape[-2:]) <= before:
            raise InputError(
                f'images of {images.shape[-1]}x{images.shape[-2]} are too '
                f'small for patches of {self.patch_size} pixels; use at '
                f'least {before + 1} pixels, or another `padding`.')
        mode = 'constant' if self.padding == 'zeros' else self.padding
        maps = F.pad(images, (before, after, before, after), mode=mode)
        pools = 0
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                maps = _split(F.max_pool2d(maps, 2, stride=1))
                pools += 1
            else:
                maps = layer(maps)
        for _ in range(pools):
            maps = _join(maps)
        height, width = images.shape[-2:]
        return maps[..., :height, :width]


def _split(maps: Tensor) -> Tensor:
    """Every other row and column by itself, ``(4 B, C, h / 2, w / 2)``.

    A map of odd size gets a row or column of zeros, which no descriptor of a
    pixel sees.
    """
    maps = F.pad(maps, (0, maps.shape[-1] % 2, 0, maps.shape[-2] % 2))
    parts = maps.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return parts.permute(3, 5, 0, 1, 2, 4).flatten(0, 2)


def _join(parts: Tensor) -> Tensor:
    """Undo :func:`_split`: ``(B, C, 2 h, 2 w)``."""
    maps = parts.unflatten(0, (2, 2, -1)).permute(2, 3, 4, 0, 5, 1)
    return maps.flatten(4, 5).flatten(2, 3)
