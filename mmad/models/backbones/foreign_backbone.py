from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmad.errors import InputError

from .base import FrozenBackbone
from .trace_output import trace_output


class ForeignBackbone(FrozenBackbone):
    """A backbone that wraps a network of another package.

    The network takes images ``(B, 3, H, W)`` and returns a tuple, a list or a
    dict of maps ``(B, C_k, H_k, W_k)``. It is frozen and stays in evaluation
    mode, whatever its own ``train`` does, and keeps the weights that it has.

    :func:`build_backbone` makes one of every config and module that is no
    backbone of mmad.

    Args:
        network (nn.Module): The network, with its weights.
        stages (Sequence[str], optional): For a tuple or a list, names of its
            maps, in their order; for a dict, the keys wanted, in any order.
            Defaults to None: all maps. Those of a tuple are called
            ``'stage1'``, ``'stage2'`` and so on after the ``out_indices`` of
            the network, or from ``'stage0'`` where it has none.
        name (str, optional): Which network, for the fingerprint of a
            checkpoint. Defaults to None: package and class.

    Raises:
        InputError: ``stages`` are no names, or the network returns something
            else; the latter may come with the first images only.
    """

    def __init__(self,
                 network: nn.Module,
                 stages: Sequence[str] | None = None,
                 name: str | None = None) -> None:
        super().__init__(_find_stages(network) if stages is None else stages)
        self.network = network
        self.name = name or class_name(type(network))
        self.freeze()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels ``C_k`` of the stages, found out when first asked for."""
        if self._channels is None:
            output = trace_output(self.network, _image_size(self.network))
            self._channels = tuple(level.shape[1]
                                   for level in self._take(output, 1))
        return self._channels

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Extract the stages.

        Args:
            inputs (Tensor): Normalized images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, ...]: One map ``(B, C_k, H_k, W_k)`` per stage.

        Raises:
            InputError: The network returns something else.
        """
        return self._take(self.network(inputs), len(inputs))

    def _take(self, output: Any, batch_size: int) -> tuple[Tensor, ...]:
        """The maps of the stages out of what the network returns."""
        kind = type(self.network).__name__
        found = _named_maps(output, kind, self.stages)
        missing = [stage for stage in self.stages if stage not in found]
        if missing:
            raise InputError(f'the backbone {kind} returns no {missing}, only '
                             f'{list(found)}; name its maps in `stages`.')
        maps = tuple(found[stage] for stage in self.stages)
        for stage, level in zip(self.stages, maps):
            if (not isinstance(level, Tensor) or level.ndim != 4
                    or len(level) != batch_size):
                raise InputError(
                    f'the backbone {kind} returns {_shown(level)} for the '
                    f'stage "{stage}" of {batch_size} image(s), and not a map '
                    '(B, C, H, W); choose the maps of a dict by `stages`, and '
                    'let a transformer return its tokens as maps '
                    '(`out_type="featmap"` in mmpretrain).')
        # What is learned of them is kept in float32.
        return tuple(level.float() for level in maps)


def class_name(kind: object) -> str:
    """Name a class by its package, wherever in that it is defined."""
    package = str(getattr(kind, '__module__', '')).partition('.')[0]
    return f'{package}.{getattr(kind, "__name__", kind)}'


def _find_stages(network: nn.Module) -> list[str]:
    indices = getattr(network, 'out_indices', None)
    if isinstance(indices, list | tuple) and len(indices):
        return [f'stage{index}' for index in indices]
    output = trace_output(network, _image_size(network))
    return list(_named_maps(output, type(network).__name__))


def _named_maps(output: object,
                kind: str,
                names: Sequence[str] | None = None) -> dict[str, Any]:
    """What a network returns, by the names of the stages."""
    if isinstance(output, Mapping):
        return {str(key): level for key, level in output.items()}
    if not isinstance(output, list | tuple) or not output:
        raise InputError(
            f'the backbone {kind} returns {_shown(output)}; it must return a '
            'tuple, a list or a dict of maps (B, C, H, W), for one map '
            '`(map, )`: set `out_indices` if it has that argument.')
    if names is None:
        names = [f'stage{index}' for index in range(len(output))]
    if len(names) != len(output):
        raise InputError(
            f'the backbone {kind} returns {len(output)} maps for the '
            f'{len(names)} `stages` {list(names)}; name each of them.')
    return dict(zip(names, output))


def _image_size(network: nn.Module) -> tuple[int, int]:
    """Size that a network is made for, or one that suits most."""
    size = getattr(network, 'img_size', None)
    size = (size, size) if isinstance(size, int) else size
    if (isinstance(size, list | tuple) and len(size) == 2
            and all(isinstance(side, int) for side in size)):
        return tuple(size)
    return (224, 224)


def _shown(value: object) -> str:
    if isinstance(value, Tensor):
        return f'a tensor of the shape {tuple(value.shape)}'
    return f'a {type(value).__name__}'
