"""Backbones of other packages, through the tools and in every method."""
import re
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmad.apis import init_model
from mmad.models import SPADE, PaDiM, PatchCore, build_backbone
from mmad.models.layers.pyramid import to_grid
from mmad.registry import MODELS
from mmad.utils.weights import remove_weights

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = dict(type='Pretrained', checkpoint='weights.pth')
BACKBONES = dict(
    otherpkg=dict(
        type='otherpkg.ResNet',
        out_indices=(0, 1, 2),
        norm_eval=False,
        frozen_stages=1,
        init_cfg=WEIGHTS),
    timm_resnet=dict(
        type='TIMMBackbone',
        name='resnet18',
        stages=['layer1', 'layer2', 'layer3'],
        weights=None),
    timm_vit=dict(
        type='TIMMBackbone',
        name='vit_tiny_patch16_224',
        stages=['blocks.0', 'blocks.2', 'blocks.5'],
        weights=None,
        model_args=dict(embed_dim=48, depth=6)),
)
STAGES = dict(
    otherpkg=['stage0', 'stage1', 'stage2'],
    timm_resnet=BACKBONES['timm_resnet']['stages'],
    timm_vit=BACKBONES['timm_vit']['stages'])
CONFIG = """
_base_ = '{root}/configs/{method}/{method}_demo.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(48, 48), backend='pillow'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root='{data}', category='bottle', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader

backbone = dict(_delete_=True, **{backbone})
model = dict(backbone=backbone, **{model})
"""


def settings(method, backbone):
    stages = STAGES[backbone]
    return dict(
        patchcore=dict(num_neighbors=2),
        padim=dict(dim=8),
        spade=dict(image_stage=stages[-1], pyramid_stages=stages[:-1]),
    )[method]


needs_timm = pytest.mark.skipif(
    find_spec('timm') is None,
    reason='timm is not installed; it is in the extra "tests"')


@pytest.mark.parametrize('method', ['patchcore', 'padim', 'spade'])
@pytest.mark.parametrize('backbone', [
    'otherpkg',
    pytest.param('timm_resnet', marks=needs_timm),
    pytest.param('timm_vit', marks=needs_timm)
])
def test_through_the_tools(run_tool, mvtec_root, otherpkg, tmp_path, method,
                           backbone):
    (tmp_path / 'own.py').write_text(
        CONFIG.format(
            root=ROOT,
            method=method,
            data=mvtec_root,
            backbone=BACKBONES[backbone],
            model=settings(method, backbone)))
    if backbone == 'otherpkg':
        torch.manual_seed(1)
        torch.save(_weights(otherpkg), tmp_path / 'weights.pth')
    result = run_tool(tmp_path, 'train.py', 'own.py', '--work-dir', 'work')
    assert result.status == 0, result.err
    # What is in the checkpoint is needed nowhere else.
    (tmp_path / 'weights.pth').unlink(missing_ok=True)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    result = run_tool(tmp_path, 'test.py', 'own.py', checkpoint, '--work-dir',
                      'test')
    assert result.status == 0, result.err
    assert ((tmp_path / 'test' /
             'metrics.json').read_bytes() == (tmp_path / 'work' /
                                              'metrics.json').read_bytes())
    images = torch.randn(2, 3, 48, 48)
    found = [
        init_model(checkpoint, device='cpu', modules='otherpkg.backbones'),
        init_model(checkpoint, tmp_path / 'own.py', 'cpu')
    ]
    with torch.no_grad():
        scores = [model(images)[0] for model in found]
    assert torch.equal(*scores)
    assert found[0].backbone.stages == tuple(STAGES[backbone])


def _weights(otherpkg):
    # Its layers without those that it looks up by name.
    state = {}
    for number, (before, width) in enumerate([(3, 4), (4, 6), (6, 8)]):
        layer = torch.nn.Sequential(
            torch.nn.Conv2d(before, width, 3), torch.nn.BatchNorm2d(width))
        state.update((f'layers.{number}.{key}', value)
                     for key, value in layer.state_dict().items())
    return state


def test_silence_ends_with_a_sentence(run_tool, mvtec_root, otherpkg,
                                      tmp_path):
    silent = dict(type='otherpkg.ResNet', out_indices=(0, 1, 2))
    (tmp_path / 'own.py').write_text(
        CONFIG.format(
            root=ROOT,
            method='padim',
            data=mvtec_root,
            backbone=silent,
            model=dict(dim=8)))
    result = run_tool(tmp_path, 'train.py', 'own.py', '--work-dir', 'work')
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith(
        'error: the backbone otherpkg.ResNet names no weights; give ')
    torch.save({}, tmp_path / 'empty.pth')
    result = run_tool(tmp_path, 'train.py', 'own.py', '--work-dir', 'work',
                      '--weights', 'empty.pth')
    assert 'weights file "empty.pth" lacks' in result.err.splitlines()[-1]


def test_a_checkpoint_of_another_architecture(fit, otherpkg, images, tmp_path):
    own = dict(type='otherpkg.ResNet', out_indices=(0, 1), weights=None)
    torch.manual_seed(0)
    model = fit(PatchCore(own, num_neighbors=3), images)
    state = model.state_dict()
    PatchCore(own, num_neighbors=3).load_state_dict(state)
    for other in (dict(own, norm_eval=True), dict(own, stages=['a', 'b'])):
        with pytest.raises(ValueError, match=r'backbone|stages'):
            PatchCore(other, num_neighbors=3).load_state_dict(state)


METHODS = dict(
    patchcore=lambda backbone: PatchCore(
        backbone, coreset_ratio=1, num_neighbors=1, sigma=0),
    padim=lambda backbone: PaDiM(backbone, dim=5, sigma=0),
    spade=lambda backbone: SPADE(
        backbone,
        image_stage=backbone['stages'][0],
        pyramid_stages=backbone['stages'],
        sigma=0),
)


@pytest.mark.parametrize('method', sorted(METHODS))
@pytest.mark.parametrize('indices',
                         [*permutations((0, 1)), (2, 1, 0), (1, ), (1, 1)])
def test_any_order_and_number_of_stages(otherpkg, fit, images, method,
                                        indices):
    torch.manual_seed(0)
    names = [f's{number}' for number in range(len(indices))]
    model = fit(
        METHODS[method](dict(
            type='otherpkg.ResNet',
            out_indices=indices,
            weights=None,
            stages=names)), images)
    new = images.flip(0) + 0.1
    with torch.no_grad():
        scores, maps = model(new)
        levels = model.backbone(new)
        known = model.backbone(images)
    assert scores.isfinite().all()
    assert maps.shape == (7, 1, 32, 40)
    assert not torch.equal(maps[0], maps[1])
    if method == 'spade':
        # As the definition says it, on the grid of the first stage.
        grid = levels[0].shape[2:]
        query, gallery = (
            torch.cat([to_grid(level, grid)
                       for level in part], 1).flatten(2).mT.flatten(0, 1)
            for part in (levels, known))
        expected = torch.cdist(query.double(), gallery.double()).amin(1)
        expected = model.anomaly_map(
            expected.square().float().view(7, 1, *grid), (32, 40))
        torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures('otherpkg')
def test_spade_names_the_stages_that_there_are():
    with pytest.raises(ValueError, match=r"lacks \['layer4'\]"):
        SPADE(
            dict(type='otherpkg.ResNet', out_indices=(0, 1), weights=None),
            pyramid_stages=['stage0', 'stage1'])


@pytest.fixture(scope='module')
def documented():
    """The blocks of the page that have to do with one kind of backbone."""
    text = (ROOT / 'docs' / 'backbones.md').read_text()
    blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    assert len(blocks) == 5
    assert all(block.count('\n') <= 15 for block in blocks)
    return dict(zip(('cnn', 'vit', 'mmpretrain', 'module', 'own'), blocks))


@pytest.mark.parametrize('kind', [
    pytest.param('cnn', marks=needs_timm),
    pytest.param('vit', marks=needs_timm),
    pytest.param(
        'mmpretrain',
        marks=pytest.mark.skipif(
            find_spec('mmpretrain') is None, reason='mmpretrain is missing')),
])
def test_documented_configs(documented, kind):
    cfg = Config.fromstring(documented[kind], '.py')
    remove_weights(cfg.model)
    backbone = dict(cfg.model.backbone)
    del backbone['_delete_']
    built = build_backbone(backbone)
    assert len(built.channels) == len(built.stages)


def test_documented_module(documented, tmp_path, monkeypatch):
    monkeypatch.setattr(MODELS, '_module_dict', dict(MODELS.module_dict))
    names = {}
    exec(documented['module'], names)
    module = names['TwoScales']()
    torch.save(module.state_dict(), tmp_path / 'two_scales.pth')
    cfg = Config.fromstring(documented['own'].partition('\n')[2], '.py')
    monkeypatch.chdir(tmp_path)
    backbone = {
        key: value
        for key, value in cfg.model.backbone.items() if key != '_delete_'
    }
    built = build_backbone(backbone)
    images = torch.randn(2, 3, 16, 16)
    for level, other in zip(built(images), PatchCore(module).backbone(images)):
        assert torch.equal(level, other)
    assert built.stages == ('fine', 'coarse')
    assert built.channels == (32, 64)
    chosen = build_backbone(dict(backbone, stages=['coarse']))
    assert torch.equal(chosen(images)[0], built(images)[1])


def test_the_dinov2_config_asks_for_whole_patches():
    cfg = Config.fromfile(ROOT /
                          'configs/patchcore/patchcore_dinov2-small_mvtec.py')
    resize, = (
        step for step in cfg.train_dataloader.dataset.pipeline
        if step.type == 'Resize')
    assert all(side % 14 == 0 for side in resize.scale)
