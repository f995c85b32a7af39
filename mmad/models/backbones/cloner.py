from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from mmad.errors import InputError
from mmad.registry import MODELS
from mmad.utils.arguments import check_flag, check_numbers

_VGG16: dict[str, tuple[tuple[int, ...], ...]] = dict(
    light=((16, 16), (16, 128), (16, 16, 256), (16, 16, 512), (16, 16, 512)),
    equal_size=((64, 64), (128, 128), (256, ) * 3, (512, ) * 3, (512, ) * 3))


@MODELS.register_module()
class Cloner(nn.Module):
    """The network that MKD trains to imitate a source.

    Blocks of 3 x 3 convolutions, without bias, since a bias could answer with
    a constant. A convolution is followed by batch normalization and ReLU, the
    last of a block by ReLU and max-pooling. Weights start by Xavier's uniform
    rule.

    Its activations at the end of some blocks, the critical points, have to
    have the channels and the stride of the source's stages.

    Args:
        widths (str | Sequence[Sequence[int]]): Channels of the convolutions
            of each block. ``'light'`` imitates VGG-16 with 343,984
            parameters and is the paper's, ``'equal_size'`` does with VGG-16's
            own widths. Defaults to ``'light'``.
        points (Sequence[int]): Blocks whose output is returned. Defaults to
            ``(1, 2, 3, 4)``, the last four poolings of VGG-16.
        strides (Sequence[int], optional): Pooling of each block, 1 for none.
            Defaults to None: 2 each.
        ceil_mode (bool): Round odd sizes up when pooling, as the strided
            convolutions of ResNets do, and not down as VGG's poolings.
            Defaults to False.
        bn_affine_bias (bool): Whether batch normalization learns a shift, as
            in the authors' code. Without, nothing in the network adds a
            constant but the running means. Defaults to True.

    Raises:
        InputError: An argument is unknown or does not fit the others.
    """

    widths: tuple[tuple[int, ...], ...]

    def __init__(self,
                 widths: str | Sequence[Sequence[int]] = 'light',
                 points: Sequence[int] = (1, 2, 3, 4),
                 strides: Sequence[int] | None = None,
                 ceil_mode: bool = False,
                 bn_affine_bias: bool = True) -> None:
        super().__init__()
        if isinstance(widths, str):
            if widths not in _VGG16:
                raise InputError(
                    f'`widths` of the cloner must be one of '
                    f'{", ".join(_VGG16)} or numbers, got "{widths}".')
            widths = _VGG16[widths]
        if not isinstance(widths, Sequence) or not widths:
            raise InputError('`widths` of the cloner must be a list with the '
                             f'channels of each block, got {widths!r}.')
        for i, block in enumerate(widths):
            check_numbers(f'widths[{i}]', block, low=1, integer=True)
            if not block:
                raise InputError(f'`widths[{i}]` of the cloner is empty; a '
                                 'block needs a convolution.')
        check_numbers('points', points, low=0, integer=True)
        if strides is not None:
            check_numbers('strides', strides, low=1, integer=True)
        check_flag('ceil_mode', ceil_mode)
        check_flag('bn_affine_bias', bn_affine_bias)
        strides = (2, ) * len(widths) if strides is None else strides
        if len(strides) != len(widths):
            raise InputError(f'the cloner has {len(widths)} blocks and '
                             f'{len(strides)} `strides`; it needs one each.')
        if not points or list(points) != sorted(
                set(points) & set(range(len(widths)))):
            raise InputError(
                f'`points` of the cloner must be blocks among 0 to '
                f'{len(widths) - 1}, each once and in order, got '
                f'{list(points)}.')
        self.widths = tuple(
            tuple(block)  # type: ignore[arg-type]
            for block in widths)
        self.points = tuple(points)
        self.strides = tuple(strides)
        # What follows the last point has no part in anything.
        inputs = (3, *(block[-1] for block in self.widths))
        self.blocks = nn.ModuleList(
            _block((
                inputs[i],
                *self.widths[i]), self.strides[i], ceil_mode, bn_affine_bias)
            for i in range(self.points[-1] + 1))

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Imitate the source.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``, as the source takes them.

        Returns:
            tuple[Tensor, ...]: One map ``(B, C_k, H_k, W_k)`` per critical
            point.
        """
        maps = []
        for block in self.blocks:
            inputs = block(inputs)
            maps.append(inputs)
        return tuple(maps[point] for point in self.points)


def _block(widths: Sequence[int], stride: int, ceil_mode: bool,
           bn_affine_bias: bool) -> nn.Sequential:
    layers = []
    for old, new in pairwise(widths):
        convolution = nn.Conv2d(old, new, 3, padding=1, bias=False)
        nn.init.xavier_uniform_(convolution.weight)
        norm = nn.BatchNorm2d(new)
        norm.bias.requires_grad_(bn_affine_bias)
        layers += [convolution, norm, nn.ReLU()]
    del layers[-2]
    return nn.Sequential(*layers,
                         nn.MaxPool2d(stride, stride, ceil_mode=ceil_mode))
