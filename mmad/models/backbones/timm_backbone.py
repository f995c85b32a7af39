from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import Tensor

from mmad.errors import InputError
from mmad.registry import MODELS
from mmad.utils.arguments import check_flag
from mmad.utils.checkpoint import check_sums
from mmad.utils.config_file import nearest
from mmad.utils.path_checks import what_is_wrong
from mmad.utils.remote_files import find_checkpoint

from .base import FrozenBackbone


@MODELS.register_module()
class TIMMBackbone(FrozenBackbone):
    """A network of timm, convolutional or a transformer.

    It is cut behind its last used stage where timm can do that. The tokens of
    a transformer become maps of the patches; class and register tokens are
    left out. It needs the package timm: ``pip install "mmad[timm]"``.

    Args:
        name (str): Name in timm, with or without the tag of its weights, such
            as ``'resnet18'``, ``'vit_small_patch14_dinov2'`` or
            ``'vit_small_patch16_dinov3'``.
        stages (Sequence[str]): Modules in timm's ``feature_info`` of the
            network, such as ``('layer2', 'layer3')`` for ResNets,
            ``('stages.1', 'stages.2')`` for ConvNeXt or
            ``('blocks.7', 'blocks.11')`` for transformers.
        weights (str | None): ``'pretrained'`` for timm's weights (downloaded
            and cached by timm), the path of a local file that timm can read,
            or ``None`` for random weights.
        norm (bool): Whether the maps go through the final normalization of a
            transformer, as the authors of DINOv2 use them. Defaults to False.
        model_args (dict, optional): More arguments of ``timm.create_model``,
            such as ``dict(img_size=448)`` for a Swin transformer. Vision
            transformers take images of any size without. Defaults to None.

    Raises:
        InputError: timm is missing, the network or a stage is unknown, or the
            weights cannot be had or do not fit.
    """

    def __init__(self,
                 name: str,
                 stages: Sequence[str],
                 weights: str | None,
                 norm: bool = False,
                 model_args: dict | None = None) -> None:
        super().__init__(stages)
        check_flag('norm', norm)
        timm = _import_timm()
        _check_name(timm, name)
        model_args = dict(model_args or {})
        self.name = f'timm.{name}' + ''.join(
            f', {key}={model_args[key]!r}'
            for key in sorted(model_args)) + (', norm' if norm else '')
        self.norm = norm
        self.body = _create(timm, name, weights, model_args)
        if not hasattr(self.body, 'forward_intermediates'):
            raise InputError(
                f'timm {timm.__version__} cannot extract stages of "{name}" '
                '(it has no `forward_intermediates`); take another network, '
                'or a newer timm.')
        info = self.body.feature_info
        info = info if isinstance(info, list) else info.info
        known = [stage['module'] for stage in info]
        unknown = [stage for stage in stages if stage not in known]
        if unknown:
            raise InputError(f'"{name}" of timm has no stages {unknown}; '
                             f'choose from {", ".join(known)}.')
        channels = {
            stage['module']:
            stage.get('num_chs_norm', stage['num_chs'])
            if norm else stage['num_chs']
            for stage in info
        }
        self._channels = tuple(channels[stage] for stage in stages)
        # timm returns them in the order of the network.
        self._order = sorted(stages, key=known.index)
        self._indices = [known.index(stage) for stage in self._order]
        if hasattr(self.body, 'prune_intermediate_layers'):
            self._indices = self.body.prune_intermediate_layers(
                self._indices, prune_norm=not norm)
        self.freeze()

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Extract the stages.

        Args:
            inputs (Tensor): Normalized RGB images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, ...]: One map ``(B, C_k, H_k, W_k)`` per stage.

        Raises:
            InputError: The network cannot take images of this size.
        """
        size = inputs.shape[-2:]
        self._check_size(*size)
        try:
            return self._cpu_copy.compute(self.body, inputs, self._maps)
        # What timm says to a size that is not the network's.
        except AssertionError as error:
            raise InputError(
                f'{self.name} cannot take images of {size[1]}x{size[0]} '
                f'pixels ({" ".join(str(error).split())[:200]}); resize them '
                'in the pipeline, or set `model_args=dict(img_size=...)` of '
                'the backbone.') from error

    def _maps(self, body: Any, inputs: Tensor) -> list[Tensor]:
        maps = body.forward_intermediates(
            inputs,
            indices=self._indices,
            norm=self.norm,
            output_fmt='NCHW',
            intermediates_only=True)
        found = dict(zip(self._order, maps, strict=True))
        return [found[stage] for stage in self.stages]

    def _check_size(self, height: int, width: int) -> None:
        embed = getattr(self.body, 'patch_embed', None)
        patch = getattr(embed, 'patch_size', None)
        if patch is None or getattr(embed, 'dynamic_img_pad', False):
            return
        rows, columns = patch if isinstance(patch, tuple) else (patch, patch)
        if height % rows or width % columns:
            raise InputError(
                f'images of {width}x{height} pixels do not divide into the '
                f'patches of {self.name}, {columns}x{rows} pixels; resize or '
                'crop them in the pipeline to multiples, such as '
                f'{_multiple(width, columns)}x{_multiple(height, rows)}.')


def _import_timm() -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != 'timm':
            raise
        raise InputError(
            'TIMMBackbone needs the package timm, which is not installed; '
            'install it with: pip install "mmad[timm]"') from error
    return timm


def _check_name(timm: ModuleType, name: object) -> None:
    if not isinstance(name, str) or not timm.is_model(name):
        hint = nearest(str(name), timm.list_models())
        raise InputError(f'timm has no model "{name}"; ' +
                         (hint or 'see timm.list_models().'))
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise InputError(
            f'timm has no weights of the tag in "{name}"; leave the tag out, '
            'or see timm.list_pretrained().') from error


def _create(timm: ModuleType, name: str, weights: str | None,
            model_args: dict) -> Any:
    model_args = dict(model_args, pretrained=weights is not None)
    if weights not in (None, 'pretrained'):
        model_args['pretrained_cfg_overlay'] = dict(file=_find_file(weights))
    try:
        if not {'img_size', 'dynamic_img_size'} & model_args.keys():
            # Only vision transformers have this argument.
            try:
                return timm.create_model(
                    name, dynamic_img_size=True, **model_args)
            except TypeError:
                pass
        return timm.create_model(name, **model_args)
    # No network, half a download, a broken file, one of another network:
    # these have no narrower common base.
    except Exception as error:
        if weights is None:
            raise
        reason = ' '.join(str(error).split())[:300]
        if weights != 'pretrained':
            raise InputError(
                f'weights file "{weights}" does not fit "{name}" of timm '
                f'({reason}); name the file of this network.') from error
        repository = getattr(
            timm.get_pretrained_cfg(name, True), 'hf_hub_id', None)
        raise InputError(
            f'the weights of "{name}" cannot be fetched by timm ({reason}); ' +
            (f'fetch "model.safetensors" from huggingface.co/{repository} '
             'on another machine and name' if repository else 'name') +
            ' a local file with --weights FILE.') from error


def _find_file(weights: object) -> str:
    if not isinstance(weights, str):
        raise InputError(f'`weights` must name a file, got {weights!r}.')
    file = find_checkpoint(weights)
    if not file.is_file():
        raise InputError(
            f'weights file "{weights}" {what_is_wrong(file)}; give the path '
            'of a local file, or "pretrained" for the weights of timm.')
    if file.suffix != '.safetensors':
        check_sums(file, weights)
    return str(file)


def _multiple(side: int, patch: int) -> int:
    return max(1, round(side / patch)) * patch
