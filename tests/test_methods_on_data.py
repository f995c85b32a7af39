"""Every method on an imitation of every data set, by the option --data."""
import argparse
import math
from copy import deepcopy

import pytest
import torch
from config_texts import ROOT
from imitations import IMITATIONS, OPTIONS
from mmengine.config import Config

from mmad.command_options import add_run_arguments
from mmad.engine import ToolRunner, refuse_unsupported
from mmad.utils import setup_environment
from mmad.utils.checkpoint import latest_checkpoint
from mmad.utils.command_line import (
    check_before_run,
    check_data,
    finish_config,
    load_config,
)

DATA_SETS = {
    path.stem: Config.fromfile(path)
    for path in sorted((ROOT / 'configs/_base_/datasets').glob('*.py'))
    # The others are a part of these, for teachers, or these as a method reads
    # them.
    if path.stem not in ('whole_images', 'natural_images', 'mvtec_ad_128',
                         'mvtec_ad-320', 'mvtec_ad_lanczos', 'cifar10_224')
}
BACKBONE = dict(_delete_=True, type='TinyBackbone')
# The config of each method, and what makes its model tiny.
METHODS = dict(
    SPADE=('spade_resnet18_mvtec',
           dict(
               backbone=BACKBONE,
               image_stage='layer3',
               pyramid_stages=['layer2', 'layer3'],
               num_neighbors=3)),
    PaDiM=('padim_resnet18_mvtec', dict(backbone=BACKBONE, dim=8)),
    PatchCore=('patchcore_resnet18_1pct_mvtec',
               dict(backbone=BACKBONE, coreset_ratio=0.05, num_neighbors=3)),
    FYD=('fyd_resnet18_10e_mvtec',
         dict(
             backbone=dict(_delete_=True, type='SteppedBackbone'),
             pose_search=dict(side=16),
             ica=dict(grid=2),
             dim=8)),
    MKD=('mkd_resnet18_mvtec',
         dict(
             backbone=BACKBONE,
             cloner=dict(
                 _delete_=True,
                 type='Cloner',
                 widths=((6, 6), (6, 6), (6, 10)),
                 points=(1, 2)),
             test_points=None)),
    UninformedStudents=('uninformed_students_p17_mvtec', dict(num_students=2)))


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """Folder of each imitation, written when it is first asked for."""
    written = {}

    def root(name):
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name)
            IMITATIONS[name](written[name])
        return written[name]

    return root


def load(config, data, root, work_dir):
    """The config as the tools load it."""
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_run_arguments(parser)
    args = parser.parse_args([
        config, '--data', data, '--data-root', f'{root}', '--work-dir',
        f'{work_dir}', *OPTIONS.get(data, [])
    ])
    cfg = load_config(args)
    finish_config(cfg, args)
    return cfg


def shrink(cfg, changes):
    """Make the model tiny and the images a quarter as long and wide."""
    cfg.merge_from_dict(
        dict(
            model=deepcopy(changes),
            train_cfg=dict(max_epochs=1, val_interval=1),
            log_level='WARNING'))
    cfg.default_hooks.checkpoint.interval = 1
    if 'param_scheduler' in cfg:
        cfg.param_scheduler.T_max = 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for step in loader.dataset.pipeline:
            for key in ('scale', 'crop_size'):
                if key in step:
                    step[key] = (
                        step[key] // 4 if isinstance(step[key], int) else
                        [side // 4 for side in step[key]])


@pytest.mark.parametrize('data', DATA_SETS)
@pytest.mark.parametrize('method', METHODS)
def test_fits_and_tests(method, data, roots, teacher_files, tmp_path):
    config, changes = METHODS[method]
    cfg = load(config, data, roots(data), tmp_path)
    shrink(cfg, changes)
    if method == 'UninformedStudents':
        scale, = cfg.model.scales
        scale.teacher = str(teacher_files[17])
        scale.network.update(width=0.02, out_channels=4)
    check_before_run(cfg, ['train', 'test'])
    refuse_unsupported(cfg)
    built = check_data(cfg, ['train_dataloader', 'test_dataloader'])
    kind = DATA_SETS[data].test_dataloader.dataset.type
    assert {type(part).__name__ for part in built.values()} == {kind}

    setup_environment()
    runner = ToolRunner.from_cfg(cfg)
    assert type(runner.model).__name__ == method
    runner.train()
    metrics = runner.test()

    wanted = {metric.type for metric in DATA_SETS[data].test_evaluator}
    assert ('image_auroc' in metrics) == ('ImageMetric' in wanted)
    assert ('pixel_auroc' in metrics) == ('PixelMetric' in wanted)
    values = [v for v in metrics.values() if isinstance(v, float)]
    assert values
    assert all(math.isfinite(v) for v in values)
    assert all(0 <= metrics[name] <= 1 for name in metrics
               if name.rpartition('/')[2] in ('image_auroc', 'image_ap',
                                              'pixel_auroc', 'pixel_ap',
                                              'aupro'))
    batch = next(iter(runner.test_dataloader))
    for image, sample in zip(batch['inputs'], runner.model.test_step(batch)):
        assert sample.pred_map.shape[-2:] == image.shape[-2:]
        assert torch.isfinite(sample.pred_map).all()
    assert latest_checkpoint(tmp_path) is not None


def test_each_data_set_has_an_imitation():
    assert set(IMITATIONS) == set(DATA_SETS)
