"""A checkpoint alone predicts as the test of its run does, for every config.

Weights are random, images and networks small.
"""
import copy

import cv2
import pytest
import torch
from config_texts import ROOT
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from test_image_pipeline import CONFIGS, assert_same
from tiny_models import write_teacher

from mmad.apis import AnomalyInferencer
from mmad.registry import METRICS
from mmad.utils import setup_environment


@METRICS.register_module(force=True)
class KeepSamples(BaseMetric):
    """Hands the predictions of a test over."""

    kept = []

    def process(self, data_batch, data_samples):
        self.kept += copy.deepcopy(data_samples)
        self.results.append(None)

    def evaluate(self, size):
        return {}

    def compute_metrics(self, results):
        return {}


def shrink(cfg, data, folder):
    model = cfg.model
    if model.get('backbone') is not None:
        model.backbone.weights = None
    if model.type == 'PatchCore':
        model.update(coreset_ratio=0.5, num_neighbors=3)
    elif model.type == 'SPADE':
        model.num_neighbors = 3
    elif model.type == 'UninformedStudents':
        for scale in model.scales:
            network = scale.network
            network.update(width=0.02, out_channels=4)
            scale.teacher = str(
                write_teacher(
                    folder / f'{network.patch_size}.pth',
                    network.patch_size,
                    network=copy.deepcopy(network)))
        model.num_students = 2
    digits = cfg.test_dataloader.dataset.type == 'OneClassDataset'
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg[name]
        loader.update(
            batch_size=1 if model.type == 'UninformedStudents' else 4,
            num_workers=0,
            persistent_workers=False)
        dataset = loader.dataset
        for step in dataset.pipeline:
            if step['type'] == 'Resize' and not digits:
                # Not square, and multiples of the patches of 14 pixels.
                step.update(scale=(98, 84))
            elif 'crop_size' in step:
                step.update(crop_size=72)
        split = dataset.get('split')
        if digits:
            dataset.update(name='digits', indices=9)
        else:
            loader.dataset = dict(
                type='AnomalyDataset',
                data_root=str(data),
                category='bottle',
                pipeline=dataset.pipeline)
            if split is not None:
                loader.dataset.split = split
    # A fit takes one pass or two; a training may be short.
    epochs = cfg.train_cfg.max_epochs
    if epochs > 2:
        epochs = len(model.get('scales', [0]))
    cfg.train_cfg.max_epochs = epochs
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if 'num_checkpoints' in cfg.test_cfg:
        cfg.test_cfg.num_checkpoints = 1
    cfg.test_evaluator = [dict(type='KeepSamples')]
    cfg.default_hooks.checkpoint.interval = epochs
    cfg.default_hooks.pop('report', None)
    cfg.merge_from_dict(
        dict(
            work_dir=str(folder / 'work'),
            log_level='ERROR',
            launcher='none',
            experiment_name=folder.name))
    return epochs


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_checkpoint_predicts_as_its_run(mvtec_root, tmp_path, name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    epochs = shrink(cfg, mvtec_root, tmp_path)
    setup_environment()
    runner = Runner.from_cfg(cfg)
    runner.train()
    KeepSamples.kept = []
    runner.test()
    expected = KeepSamples.kept
    inferencer = AnomalyInferencer(
        tmp_path / 'work' / f'epoch_{epochs}.pth', device='cpu')
    dataset = runner.test_dataloader.dataset
    files = []
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        files.append(str(info['img_path']))
        if 'img' in info:
            files[-1] = str(tmp_path / f'{number}.png')
            cv2.imwrite(files[-1], info['img'])
    size = cfg.test_dataloader.batch_size
    assert_same(inferencer(files, size), expected)
    assert_same(
        inferencer([cv2.imread(file) for file in files], size), expected)
    for one, other in zip(inferencer(files, 3), expected):
        assert torch.allclose(one.pred_map, other['pred_map'], 1e-3, 1e-3)
