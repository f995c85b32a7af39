"""Published settings of MKD and Uninformed Students learn and predict.

Weights are random, images and networks small. `test_configs.py` builds all
configs, and `test_apis/test_runs.py` trains and tests them.
"""
import json
from argparse import Namespace

import numpy as np
import pytest
import sklearn.datasets
import torch
from config_texts import ROOT
from mmengine.optim import OptimWrapper
from run_tools import CATEGORY

from mmad.registry import MODELS, TRANSFORMS
from mmad.utils import load_checkpoint
from mmad.utils.command_line import load_config

PHOTOS = f'{sklearn.datasets.__path__[0]}/images'
SAMPLES = [
    'model.compactness_loss.type=CompactnessLoss',
    'model.compactness_loss.over=samples'
]
MVTEC = 'mkd_vgg16_mvtec'
LAST_TWO = [
    "model.backbone.stages=['features.23','features.30']",
    'model.cloner.points=[3,4]', 'model.test_points=[0,1]'
]
# Options, stages of VGG-16 that are compared in a test, and the weights of
# values and direction.
MKD = {
    'mkd_vgg16_published_mvtec': ([], (16, 23, 30), 0.5, 1),
    'mkd_vgg16_published_one_class': ([], (16, 23, 30), 0.01, 1),
    'mkd_vgg16_published_cifar10': ([], (16, 23, 30), 0.01, 1),
    'mkd_vgg16_value_mvtec': ([], (16, 23, 30), 1, 0),
    'mkd_vgg16_direction_mvtec': ([], (16, 23, 30), 0, 1),
    'mkd_vgg16_equal_size_mvtec':
    (['model.loss_weight=3'], (16, 23, 30), 1, 3),
    MVTEC: ([*LAST_TWO, 'model.loss_weight=2'], (23, 30), 1, 2),
}


def load(name, options=()):
    path, = ROOT.glob(f'configs/*/{name}.py')
    return load_config(
        Namespace(
            config=str(path),
            cfg_options=list(options),
            data=None,
            data_root=None,
            category=None))


@pytest.mark.parametrize('name', MKD)
def test_scores_of_mkd(name):
    options, points, value, direction = MKD[name]
    cfg = load(name, options)
    cfg.model.backbone.weights = None
    detector = MODELS.build(cfg.model)
    widths = [
        layer.out_channels for layer in detector.cloner.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    assert (sum(widths) == 4224) == ('equal_size' in name)
    images = list(torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8))
    detector.begin_training(1)
    log = detector.train_step(
        dict(inputs=images),
        OptimWrapper(
            torch.optim.Adam(p for p in detector.parameters()
                             if p.requires_grad)))
    assert (log['loss_value'] > 0) == (value > 0)
    assert (log['loss_direction'] > 0) == (direction > 0)

    detector.eval()
    with torch.no_grad():
        samples = detector.test_step(dict(inputs=images))
        inputs = detector.data_preprocessor(dict(inputs=images))['inputs']
        source, maps = [], inputs
        for name, layer in detector.backbone.body.features.named_children():
            maps = layer(maps)
            if int(name) in points:
                source.append(maps)
        clone = detector.cloner(inputs)[-len(points):]
    for i, sample in enumerate(samples):
        expected = 0
        for one, other in zip(source, clone):
            a, b = (x[i].double().numpy().ravel() for x in (one, other))
            cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            expected += value * ((a - b)**2).mean() + direction * (1 - cosine)
        assert float(sample.pred_score) == pytest.approx(expected, rel=1e-3)
        if cfg.model.attribution.get('percentile'):
            assert 0.1 < float(sample.pred_map.max()) <= 1


@pytest.mark.parametrize(
    ('name', 'options', 'losses'),
    [('teacher_p33', [], {'knowledge', 'compactness'}),
     ('teacher_p33', ['model.compactness_weight=0'], {'knowledge'}),
     ('teacher_p33', SAMPLES, {'knowledge', 'compactness'}),
     ('teacher_p33', [
         'model.metric_weight=1',
         'train_dataloader.dataset.pipeline.1.positive=True'
     ], {'knowledge', 'metric', 'compactness'}),
     ('teacher_p33_metric', [], {'metric', 'compactness'}),
     ('teacher_p33_metric', ['model.compactness_weight=0'], {'metric'}),
     ('teacher_p33_metric', [
         'model.network.patch_size=17',
         'train_dataloader.dataset.pipeline.1.patch_size=17'
     ], {'metric', 'compactness'})])
def test_losses_of_a_teacher(name, options, losses):
    cfg = load(name, options)
    cfg.model.network.update(width=0.02, out_channels=4)
    assert (cfg.model.backbone is None) == ('knowledge' not in losses)
    if cfg.model.backbone is not None:
        cfg.model.backbone = dict(type='TinyBackbone')
    teacher = MODELS.build(cfg.model)
    rng = np.random.default_rng(0)
    steps = [
        TRANSFORMS.build(s) for s in cfg.train_dataloader.dataset.pipeline
    ]
    images = []
    for number in range(6):
        results = dict(
            img=rng.integers(0, 256, (90, 70, 3), dtype=np.uint8),
            ori_shape=(90, 70),
            img_path='',
            sample_idx=number)
        for step in steps[1:]:
            results = step(results)
        images.append(results['inputs'])
    teacher.begin_training(1)
    log = teacher.train_step(
        dict(inputs=images),
        OptimWrapper(torch.optim.Adam(teacher.parameters())))
    assert set(log) == {'loss', *(f'loss_{one}' for one in losses)}
    assert all(value > 0 for value in log.values())


def small(index, teacher):
    return [
        f'model.scales.{index}.network.width=0.02',
        f'model.scales.{index}.network.out_channels=4',
        f'model.scales.{index}.teacher={teacher}'
    ]


ONCE = [
    'train_cfg.max_epochs=1', 'default_hooks.checkpoint.interval=1',
    *(f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
      for key in ('num_workers=0', 'persistent_workers=False'))
]


def test_students_of_a_teacher_without_a_pretrained_network(
        run_tool, mvtec_root, tmp_path):
    result = run_tool(tmp_path, 'train.py', 'teacher_p33_metric',
                      '--data-root', PHOTOS, '--work-dir', 'teacher',
                      '--cfg-options', 'model.network.width=0.02',
                      'model.network.out_channels=4',
                      'train_dataloader.dataset.length=6',
                      'train_dataloader.batch_size=3', *ONCE[:4])
    assert result.status == 0, result.err
    state = load_checkpoint(tmp_path / 'teacher/epoch_1.pth')['state_dict']
    assert {name.split('.')[0] for name in state} == {'fit_state', 'network'}
    result = run_tool(
        tmp_path, 'train.py', 'uninformed_students_p33_mvtec', *CATEGORY,
        '--data-root', mvtec_root, '--work-dir', 'work', '--cfg-options',
        *small(0, 'teacher/epoch_1.pth'), *ONCE, 'train_cfg.val_interval=1',
        *(f'{split}_dataloader.dataset.pipeline.2.scale=[40,40]'
          for split in ('train', 'val', 'test')))
    assert result.status == 0, result.err
    report = json.loads((tmp_path / 'work/metrics.json').read_text())
    assert 0 <= report['pixel_auroc'] <= 1


def test_students_of_one_class(run_tool, teacher_files, tmp_path):
    result = run_tool(
        tmp_path, 'train.py', 'uninformed_students_one_class',
        '--category', '3', '--work-dir', 'work', '--cfg-options',
        *small(0, teacher_files[17]), *small(1, teacher_files[33]), *ONCE,
        'train_cfg.val_interval=1',
        *(f'{split}_dataloader.dataset.{key}'
          for split in ('train', 'val', 'test')
          for key in ('name=digits', 'indices=40')))
    assert result.status == 0, result.err
    report = json.loads((tmp_path / 'work/metrics.json').read_text())
    assert 0 <= report['image_auroc'] <= 1
    assert 'pixel_auroc' not in report
    assert report['conditions']['images'] == 40


@pytest.mark.parametrize(
    ('page', 'options'),
    [('mkd', LAST_TWO), ('mkd', ["model.backbone.stages=['features.30']"]),
     ('uninformed_students', SAMPLES),
     ('uninformed_students',
      ['train_dataloader.dataset.pipeline.1.patch_size=17'])])
def test_options_are_those_of_the_page(page, options):
    text = (ROOT / f'docs/{page}.md').read_text().replace('"', '')
    assert ' '.join(options) in text
