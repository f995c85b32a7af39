"""Published settings of PaDiM, SPADE and FYD, each a config, on small data."""
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.optim import OptimWrapper
from PIL import Image
from tiny_models import fit_shard
from torch import nn
from torchvision.models import efficientnet_b5, resnet18

from mmad.errors import InputError
from mmad.models import FYD, FitDetector, build_backbone
from mmad.registry import MODELS
from mmad.utils.config_file import read_config
from mmad.utils.weights import remove_weights

ROOT = Path(__file__).parents[1] / 'configs'
# Those of one backbone side by side.
SETTINGS = [
    'padim/padim_resnet18_448_mvtec',
    'padim/padim_resnet18_pca_mvtec',
    'padim/padim_resnet18_pca200_mvtec',
    'padim/padim_resnet18_rd200_mvtec',
    'padim/padim_resnet18_reference_mvtec',
    'padim/padim_resnet18_sum-of-maps_mvtec',
    'padim/padim_efficientnet-b5_mvtec',
    'padim/padim_wrn50_mvtec',
    'padim/padim_wrn50_reference_mvtec',
    'spade/spade_resnet18_mvtec',
    'spade/spade_resnet18_layer3_mvtec',
    'spade/spade_wrn50_mvtec',
    'spade/spade_wrn50_spade-fast_mvtec',
    'spade/spade_wrn50_spade-pytorch_mvtec',
    'fyd/fyd_resnet18_448_10e_mvtec',
    'fyd/fyd_wrn50_mvtec',
    'fyd/fyd_wrn50_ica-fca-fas_mvtec',
]


@lru_cache(maxsize=1)
def random_backbone(**kwargs):
    # Without values it is built, traced and checked in no time.
    with torch.device('meta'):
        backbone = build_backbone(dict(kwargs, stages=list(kwargs['stages'])))
    backbone.to_empty(device='cpu')
    torch.manual_seed(0)
    for module in backbone.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d):
            # So that activations neither vanish nor grow.
            module.weight.data.mul_(6**0.5)
    return backbone


def build(setting):
    """The model of a config, with random weights."""
    cfg = read_config(ROOT / f'{setting}.py').model
    remove_weights(cfg)
    backbone = dict(cfg.pop('backbone'))
    backbone['stages'] = tuple(backbone['stages'])
    if cfg.type == 'FYD':
        cfg.pose_search = dict(num_angles=4, side=8)
    detector = MODELS.build(
        dict(cfg.to_dict(), backbone=random_backbone(**backbone)))
    assert isinstance(detector, FitDetector)
    return detector


def prepare(detector, images):
    """What a config has before the fit of Gaussians: a search, a training."""
    if not isinstance(detector, FYD):
        return
    detector.pose_search.reset()
    detector.pose_search.update(images, range(len(images)))
    detector.pose_search.finalize()
    parameters = [p for p in detector.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in parameters]
    optimizer = OptimWrapper(torch.optim.SGD(parameters, 1e-3))
    detector.train_step(
        dict(inputs=images, data_samples=[None] * len(images)), optimizer)
    if detector.fas is not None:
        # The whole network, but for the first convolution.
        assert sum(p.numel() for p in parameters) > 2e7
        assert not all(map(torch.equal, parameters, before))


@pytest.mark.parametrize('setting', SETTINGS)
def test_fits_and_predicts(setting):
    generator = torch.Generator().manual_seed(0)
    # One part, and noise that differs.
    part = torch.randint(256, (3, 32, 32), generator=generator)
    images = part + 10 * torch.randn(4, 3, 32, 32, generator=generator)
    detector = build(setting)
    prepare(detector, images)
    fit_shard(detector, images, batch_size=4)
    odd = images.clone()
    odd[3, :, 8:24, 8:24] = 255 - odd[3, :, 8:24, 8:24]
    with torch.no_grad():
        scores, maps = (
            torch.stack([sample.get(name) for sample in found])
            for name in ('pred_score', 'pred_map') for found in
            [detector.test_step(dict(inputs=odd, data_samples=None))])
    assert maps.shape == (4, 32, 32)
    assert scores.argmax() == 3
    assert (maps[3] > maps[:3].amax(0)).float().mean() > 0.9


def test_spade_without_the_fourth_stage(tmp_path):
    weights = {
        name: value
        for name, value in resnet18().state_dict().items()
        if not name.startswith(('layer4', 'fc'))
    }
    torch.save(weights, tmp_path / 'part.pth')
    cfg = read_config(ROOT / 'spade/spade_resnet18_mvtec.py').model
    cfg.backbone.weights = str(tmp_path / 'part.pth')
    with pytest.raises(InputError, match=r'layer4.*a config with earlier'):
        MODELS.build(cfg)
    for data in ('mvtec', 'folder'):
        cfg = read_config(ROOT /
                          f'spade/spade_resnet18_layer3_{data}.py').model
        cfg.backbone.weights = str(tmp_path / 'part.pth')
        assert MODELS.build(cfg).image_stage == 'layer3'


def test_blocks_of_efficientnet_b5():
    backbone = build('padim/padim_efficientnet-b5_mvtec').backbone
    network = efficientnet_b5().eval()
    state = network.state_dict()
    state.update(backbone.body.state_dict())
    network.load_state_dict(state)
    assert [len(stage)
            for stage in network.features[1:8]] == [3, 5, 5, 7, 7, 9, 3]
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = backbone(images)
        x, number, expected = network.features[0](images), 0, {}
        for stage in network.features[1:8]:
            for block in stage:
                x, number = block(x), number + 1
                expected[number] = x
    for one, block, channels, stride in zip(
            maps, (7, 20, 26), (40, 128, 176), (4, 16, 16), strict=True):
        assert one.shape == (2, channels, 64 // stride, 96 // stride)
        # Up to the rounding of folded normalization.
        torch.testing.assert_close(one, expected[block], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('setting', 'resize'), [
    ('padim/padim_resnet18_lanczos_mvtec', 'lanczos'),
    ('padim/padim_resnet18_reference_mvtec', 'lanczos'),
    ('padim/padim_wrn50_reference_mvtec', 'lanczos'),
    ('spade/spade_wrn50_spade-pytorch_mvtec', 'lanczos'),
    ('spade/spade_wrn50_spade-fast_mvtec', 'area'),
])
def test_images_are_resized_as_in_the_reference_code(setting, resize,
                                                     tmp_path):
    image = np.random.default_rng(0).integers(
        256, size=(300, 420, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / 'image.png')
    if resize == 'lanczos':
        expected = np.array(
            Image.fromarray(image).resize((256, 256), Image.LANCZOS))
    else:
        expected = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    cfg = read_config(ROOT / f'{setting}.py')
    for split in ('train', 'val', 'test'):
        pipeline = Compose(cfg[f'{split}_dataloader'].dataset.pipeline)
        found = pipeline(
            dict(
                img_path=str(tmp_path / 'image.png'),
                gt_label=0,
                mask_path=None))
        found = found['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
        np.testing.assert_array_equal(found, expected[16:240, 16:240])
