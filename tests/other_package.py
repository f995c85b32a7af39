"""The files of a package with backbones in a registry of its own."""

OTHER_PACKAGE = {
    '__init__.py':
    '',
    'registry.py':
    """
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry(
    'model', parent=MMENGINE_MODELS, scope='otherpkg',
    locations=['otherpkg.backbones'])
""",
    'backbones.py':
    """
from mmengine.model import BaseModule
from torch import nn

from .registry import MODELS


@MODELS.register_module()
class Swish(nn.SiLU):
    pass


@MODELS.register_module()
class Mish(nn.Mish):
    pass


@MODELS.register_module()
class ResNet(BaseModule):
    def __init__(self, widths=(4, 6, 8), out_indices=(2, ), norm_eval=False,
                 frozen_stages=-1, act=dict(type='Swish'),
                 init_cfg=dict(type='Kaiming', layer='Conv2d')):
        super().__init__(init_cfg)
        self.out_indices = out_indices
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        self.layers = nn.ModuleList()
        for before, width in zip((3, *widths), widths):
            self.layers.append(nn.Sequential(
                nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width),
                MODELS.build(act)))

    def forward(self, inputs):
        maps = []
        for layer in self.layers:
            inputs = layer(inputs)
            maps.append(inputs)
        return tuple(maps[index] for index in self.out_indices)

    def train(self, mode=True):
        super().train(mode)
        for layer in self.layers[:self.frozen_stages + 1]:
            layer.eval()
        for module in self.modules():
            if self.norm_eval and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


@MODELS.register_module()
class Derived(ResNet):
    def __init__(self, **kwargs):
        super().__init__(widths=(4, 8), **kwargs)


@MODELS.register_module()
class Heedless(Derived):
    def __init__(self, init_cfg=None, **kwargs):
        super().__init__(**kwargs)


@MODELS.register_module()
class Plain(nn.Module):
    def __init__(self, pretrained=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)

    def forward(self, inputs):
        return dict(only=self.conv(inputs))


@MODELS.register_module()
class NoModule:
    pass
""",
}
