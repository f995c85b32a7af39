"""Masks with a file for each region, from the config to the report."""
import json
import math
import shutil

import cv2
import pytest
from config_texts import ROOT
from mmengine.config import Config
from mmengine.runner import Runner
from small_data import write_loco_data

from mmad.engine.hooks.metric_rules import reported_metrics
from mmad.evaluation.predictions import Predictions
from mmad.utils import setup_environment
from mmad.visualization.report import build_page, read_runs

CONFIG = f"""
_base_ = [
    '{ROOT}/configs/_base_/models/patchcore_resnet18.py',
    '{ROOT}/configs/_base_/datasets/mvtec_loco.py',
    '{ROOT}/configs/_base_/schedules/fit_once.py',
    '{ROOT}/configs/_base_/default_runtime.py'
]

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(40, 32), backend='pillow'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root='DATA', category='pushpins', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader
model = dict(backbone=dict(_delete_=True, type='TinyBackbone'),
             num_neighbors=3)
default_hooks = dict(visualization=dict(enable=True, frame='original'))
log_level = 'WARNING'
"""


@pytest.fixture(scope='module')
def loco(tmp_path_factory):
    """Config and work directory of a run with its own copy of the data."""
    folder = tmp_path_factory.mktemp('loco')
    write_loco_data(folder / 'data/pushpins')
    path = folder / 'loco.py'
    path.write_text(CONFIG.replace('DATA', str(folder / 'data')))
    cfg = Config.fromfile(path)
    cfg.work_dir = str(folder / 'work')
    setup_environment()
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.test()
    return path, folder / 'work', runner, metrics


def test_both_kinds_of_anomalies_and_their_mean_are_written(loco):
    _, work, runner, metrics = loco
    report = json.loads((work / 'metrics.json').read_text())
    rows = report.pop('per_defect_type')
    assert list(rows) == ['logical_anomalies', 'structural_anomalies']
    for name in ('image_auroc', 'auspro'):
        values = [row[name] for row in rows.values()]
        assert all(0 <= value <= 1 for value in values)
        assert report[f'{name}_mean'] == pytest.approx(math.fsum(values) / 2)
    assert report['conditions'].items() >= dict(
        images=8,
        mask_regions=5,
        spro_resolution='original',
        spro_fpr_limit=0.05,
        spro_score_bits=20,
        spro_map_size='48x56',
        spro_regions=7).items()
    names = {name for name in metrics if 'image_' in name or 'auspro' in name}
    # The verdicts are not known before there is a threshold.
    assert {*reported_metrics(runner.test_evaluator)} == {
        name
        for name in names
        if name.rpartition('_')[2] not in ('precision', 'recall', 'rate')
    }


def test_the_union_of_the_regions_is_drawn(loco):
    _, work, *_ = loco
    drawn = list(work.glob('visualization/logical_anomalies/*.png'))
    assert len(drawn) == 2
    assert all(cv2.imread(str(path)) is not None for path in drawn)


def test_the_report_shows_masks_and_values(loco, tmp_path):
    _, work, *_ = loco
    predictions = Predictions.load(work / 'predictions.npz')
    assert [one.mask_path is None
            for one in predictions.examples] == 3 * [True] + 5 * [False]
    # An earlier run, with a metric of another limit.
    other = shutil.copytree(work, tmp_path / 'other')
    metrics = json.loads((other / 'metrics.json').read_text())
    metrics['conditions']['spro_fpr_limit'] = 0.3
    (other / 'metrics.json').write_text(json.dumps(metrics))
    page = build_page(read_runs([work, other]), 'two')
    assert 'could not be shown' not in page
    assert 'AUsPRO, mean of the defect types' in page
    assert 'AUsPRO at the original resolution 48x56 up to FPR 0.05' in page
    assert 'The limit of AUsPRO differs (' in page
    assert '"has_masks": true' in page
    assert 'data-curve="spro"' in page
    assert 'data-curve="pro"' not in page


def test_the_data_are_drawn_with_their_outline(loco, run_tool, tmp_path):
    path, *_ = loco
    result = run_tool(tmp_path, 'browse_dataset.py', path, '--split', 'test',
                      '--number', '8', '--out-dir', 'out')
    assert result.status == 0, result.err
    for name in ('good', 'logical_anomalies', 'structural_anomalies'):
        for file in (tmp_path / 'out' / name).glob('*.png'):
            image = cv2.imread(str(file))
            # The line is white, which nothing else is.
            assert (image == 255).all(2).any() == (name != 'good')
    assert len(list((tmp_path / 'out').glob('*/*.png'))) == 8
