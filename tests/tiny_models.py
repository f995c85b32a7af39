"""Networks with fixed random weights, and how a detector is fitted."""
import torch
from mmengine.dataset import DefaultSampler
from torch import nn

from mmad.models import FrozenBackbone, SequentialBackbone, build_backbone
from mmad.registry import MODELS
from mmad.structures import AnomalyDataSample


@MODELS.register_module(force=True)
class TinyBackbone(FrozenBackbone):
    """Two convolutions with fixed random weights."""

    def __init__(self, stages=('layer2', 'layer3'), seed=0, weights=None):
        super().__init__(stages)
        generator = torch.Generator().manual_seed(seed)
        self.body = nn.ModuleDict(
            dict(
                layer2=nn.Conv2d(3, 6, 5, stride=4, padding=2),
                layer3=nn.Conv2d(6, 10, 3, stride=2, padding=1)))
        for parameter in self.body.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        self.freeze()

    def forward(self, inputs):
        maps = {}
        for name, part in self.body.items():
            inputs = maps[name] = part(inputs).relu()
        return tuple(maps[stage] for stage in self.stages)


@MODELS.register_module(force=True)
class SteppedBackbone(SequentialBackbone):
    """Two stages of one convolution each, with fixed random weights."""

    def __init__(self, stages=('layer1', 'layer2'), weights=None):
        super().__init__(stages)
        generator = torch.Generator().manual_seed(0)
        self.body = nn.Sequential()
        for name, layer in (('layer1', nn.Conv2d(3, 6, 5, stride=4,
                                                 padding=2)),
                            ('layer2',
                             nn.Conv2d(6, 10, 3, stride=2, padding=1))):
            for parameter in layer.parameters():
                nn.init.normal_(parameter, std=0.3, generator=generator)
            self.body.add_module(name, nn.Sequential(layer, nn.ReLU()))
        self.freeze()


BACKBONES = {}
NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.02, out_channels=4)
NORMALIZATION = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


def write_teacher(path, patch_size=17, **kwargs):
    """The checkpoint of a teacher with random weights."""
    torch.manual_seed(patch_size)
    teacher = MODELS.build(
        dict(
            dict(
                type='PatchTeacher',
                network=dict(NETWORK, patch_size=patch_size),
                knowledge_weight=0,
                data_preprocessor=NORMALIZATION), **kwargs))
    # Not as small as they begin.
    with torch.no_grad():
        for parameter in teacher.network.parameters():
            parameter.mul_(3)
    teacher.fit_state.finalize()
    torch.save(dict(state_dict=teacher.state_dict()), path)
    return path


def share_backbones(cfg):
    """A config in which backbones are modules, each built once.

    They are frozen. Their weights are random, and on the default device.
    """
    cfg = cfg.to_dict()
    for part in (cfg, *cfg.get('members', [])):
        if part.get('backbone'):
            key = f'{part["backbone"]} on {torch.get_default_device()}'
            if key not in BACKBONES:
                torch.manual_seed(0)
                BACKBONES[key] = build_backbone(part['backbone'])
            part['backbone'] = BACKBONES[key]
    return cfg


def feed(detector, images, batch_size, order=None):
    """One pass over the images, in another order if given."""
    order = list(range(len(images))) if order is None else list(order)
    for start in range(0, len(order), batch_size):
        batch = order[start:start + batch_size]
        samples = [
            AnomalyDataSample(
                metainfo=dict(sample_idx=i, img_path=f'image_{i}.png'))
            for i in batch
        ]
        detector.fit_step(dict(inputs=images[batch], data_samples=samples))


def fit_shard(detector, images, batch_size=2):
    """Fit with the images that the sampler deals to this process."""
    detector.begin_fit(len(images), batch_size)
    for _ in range(detector.num_passes):
        feed(detector, images, batch_size,
             DefaultSampler(images, shuffle=False))
        detector.end_pass()
    return detector.eval()
