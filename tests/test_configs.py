from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_models import share_backbones

from mmad.models import FitDetector
from mmad.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    TRANSFORMS,
    VISUALIZERS,
)
from mmad.utils.weights import remove_weights

ROOT = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(
    path for path in ROOT.rglob('*.py') if '_base_' not in path.parts
    # The same as the one in text, says test_lazy_config.py.
    and not path.stem.endswith('_lazy'))


def depth(path):
    bases = Config._get_base_files(str(path))
    return 1 + max((depth(path.parent / base) for base in bases), default=0)


def test_there_are_some():
    assert len(LEAVES) >= 7


def test_unique_names():
    assert len({path.stem for path in LEAVES}) == len(LEAVES)


def check_teacher(cfg, model):
    assert model.fingerprint()['model'] == cfg.model.type
    dataset = cfg.train_dataloader.dataset
    built = DATASETS.build(dict(dataset, lazy_init=True))
    assert {Path(root).parent
            for root in built.forbidden_roots
            } == {Path(dataset.data_root).parent}
    patch, = (step for step in dataset.pipeline if step.type == 'RandomPatch')
    assert patch.patch_size == cfg.model.network.patch_size
    assert cfg.default_hooks.checkpoint.interval == 1


def test_teachers_know_all_anomaly_data(tmp_path, monkeypatch):
    monkeypatch.setenv('MMAD_DATA', str(tmp_path))
    roots = set()
    for path in (ROOT / '_base_' / 'datasets').glob('*.py'):
        cfg = Config.fromfile(path)
        if 'val_dataloader' in cfg and 'data_root' in cfg:
            roots.add(cfg.data_root)
    cfg = Config.fromfile(ROOT / 'uninformed_students' / 'teacher_p33.py')
    forbidden = set(cfg.train_dataloader.dataset.forbidden_roots)
    # Classification sets are natural images, the generated data are not.
    assert forbidden == roots - {f'{tmp_path}/torchvision'} | {
        f'{tmp_path}/demo'
    }


@pytest.mark.parametrize(
    'path',
    [path for path in LEAVES if path.stem.startswith('uninformed_students')],
    ids=lambda path: path.stem)
def test_students_look_where_teachers_end(path):
    for scale in Config.fromfile(path).model.scales:
        teacher = Path(scale.teacher)
        cfg = Config.fromfile(ROOT / 'uninformed_students' /
                              f'{teacher.parent.name}.py')
        assert teacher.stem == f'epoch_{cfg.train_cfg.max_epochs}'
        assert cfg.model.network == scale.network


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_builds(path, tmp_path, monkeypatch):
    monkeypatch.setenv('MMAD_DATA', str(tmp_path))
    cfg = Config.fromfile(path)
    if (cfg.model.get('backbone') or {}).get('type') == 'TIMMBackbone':
        pytest.importorskip('timm')
    remove_weights(cfg.model)
    # Random weights need no values, so this takes little time.
    with torch.device('meta'):
        model = MODELS.build(share_backbones(cfg.model))
    if cfg.get('val_cfg') is None:
        check_teacher(cfg, model)
        return
    assert model.fingerprint()['detector'] == cfg.model.type
    interval = cfg.train_cfg.get('val_interval', 1)
    # What is validated is saved.
    assert interval % cfg.default_hooks.checkpoint.interval == 0
    if isinstance(model, FitDetector) and not model.needs_training:
        # Validated and saved once the last pass is over, and not before.
        assert cfg.train_cfg.max_epochs == interval == model.num_passes
        assert cfg.default_hooks.checkpoint.interval == interval
    else:
        assert cfg.train_cfg.max_epochs % interval == 0
        assert cfg.train_dataloader.sampler.shuffle
        assert OPTIMIZERS.get(cfg.optim_wrapper.optimizer.type) is not None
        if 'param_scheduler' in cfg:
            assert cfg.param_scheduler.T_max == cfg.train_cfg.max_epochs
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.data_root.startswith(f'{tmp_path}/')
        built = DATASETS.build(dict(dataset, lazy_init=True))
        assert built.split == ('train' if split == 'train' else 'test')
        assert [TRANSFORMS.get(step.type) for step in dataset.pipeline]
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.test_evaluator == cfg.val_evaluator
    for metric in cfg.val_evaluator:
        METRICS.build(metric)
    for hook in (*cfg.default_hooks.values(), *cfg.custom_hooks):
        HOOKS.build(hook)
    assert VISUALIZERS.get(cfg.visualizer.type) is not None


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_at_most_two_levels_over_the_bases(path):
    # A leaf, the leaf that it varies, and the parts in `_base_`.
    assert depth(path) <= 3
    first = [path.parent / base for base in Config._get_base_files(str(path))]
    assert all('_base_' in base.parts or depth(base) <= 2 for base in first)


def sees_whole_image(pipeline):
    """Whether a defect in the outermost pixels arrives at the model."""
    steps = [
        TRANSFORMS.build(step) for step in pipeline
        if step['type'] not in ('LoadImage', 'LoadMask')
    ]

    def run(mask):
        results = dict(
            img=np.zeros((*mask.shape, 3), np.uint8),
            gt_seg_map=mask,
            gt_label=1,
            ori_shape=mask.shape)
        for step in steps:
            results = step(results)
        return results['data_samples'].gt_mask

    frame = np.ones(run(np.zeros((300, 400), np.uint8)).shape, np.uint8)
    frame[1:-1, 1:-1] = 0
    # Twice as large, as shrinking is part of most pipelines.
    large = np.kron(frame, np.ones((2, 2), np.uint8))
    out = run(large)
    expected = large if out.shape == large.shape else frame
    return np.array_equal(out, expected > 0)


def may_crop(dataset):
    # Parts in the center: MVTec AD and what imitates it. And CIFAR-10 at 224
    # pixels, which follows the authors' code.
    return (dataset.type == 'MVTecAD' or dataset.get('name') == 'CIFAR10'
            or Path(dataset.data_root).name == 'demo')


@pytest.mark.parametrize(
    'path', [*LEAVES, *sorted((ROOT / '_base_' / 'datasets').glob('*.py'))],
    ids=lambda path: path.stem)
def test_crops_centered_parts_only(path):
    cfg = Config.fromfile(path)
    for split in ('train', 'val', 'test'):
        dataset = cfg.get(f'{split}_dataloader', {}).get('dataset')
        # Teachers learn from patches of natural images.
        if dataset and dataset.get('type') != 'NaturalImages':
            assert sees_whole_image(dataset.pipeline) or may_crop(dataset)


@pytest.mark.parametrize('step', [
    dict(type='CenterCrop', crop_size=224),
    dict(type='CenterCrop', crop_size=254),
    dict(type='mmcv.CenterCrop', crop_size=224),
    dict(type='RandomPose', angle=10, crop_size=224),
])
def test_a_crop_is_noticed(step):
    before = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='Resize', scale=(256, 256), backend='pillow')
    ]
    pack = dict(type='PackInputs')
    assert sees_whole_image([*before, pack])
    assert not sees_whole_image([*before, step, pack])


@pytest.mark.parametrize(
    'name',
    ['magnetic_tile', 'visa', 'btad', 'mpdd', 'mvtec_loco', 'mvtec_ad_2'])
def test_no_crop_without_centered_parts(name):
    cfg = Config.fromfile(ROOT / '_base_' / 'datasets' / f'{name}.py')
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert not may_crop(dataset)
        assert sees_whole_image(dataset.pipeline)
