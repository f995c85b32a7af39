import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from run_tools import CATEGORY, metrics

from mmad.models import TorchvisionBackbone
from mmad.structures import AnomalyDataSample
from mmad.utils import load_checkpoint
from mmad.visualization import AnomalyVisualizer

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def drawn_shape(*shape):
    """Shape of a drawing of an image of this shape."""
    sample = AnomalyDataSample(
        pred_map=torch.zeros(shape), gt_mask=torch.zeros(shape))
    return AnomalyVisualizer().draw(np.zeros((*shape, 3), np.uint8),
                                    sample).shape


def test_train(trained):
    report = json.loads(metrics(trained / 'work'))
    assert set(report['per_defect_type']) == {'hole', 'scratch'}
    assert 0 <= report['image_auroc'] <= 1
    assert report['pixel_auroc'] > 0.8
    state = load_checkpoint(str(trained / 'work' / 'epoch_1.pth'))
    assert len(state['state_dict']['memory_bank.rows']) == 25


def test_test_repeats_the_metrics_and_draws(run_tool, config, trained,
                                            tmp_path):
    result = run_tool(tmp_path, 'test.py', config,
                      trained / 'work' / 'epoch_1.pth', *CATEGORY,
                      '--work-dir', 'test', '--show-dir', 'maps')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'test') == metrics(trained / 'work')
    drawn = sorted(tmp_path.glob('maps/*/*.png'))
    assert [f'{p.parent.name}/{p.stem}' for p in drawn] == [
        'good/000', 'good/001', 'good/002', 'hole/000', 'hole/001',
        'scratch/000', 'scratch/001', 'scratch/002'
    ]
    # The originals, not what the model sees of them.
    assert cv2.imread(str(drawn[0])).shape == drawn_shape(48, 56)


def test_heat_maps_of_the_model_input(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'test.py', config,
                      trained / 'work' / 'epoch_1.pth', *CATEGORY,
                      '--work-dir', 'test', '--show-dir', 'maps',
                      '--cfg-options',
                      'default_hooks.visualization.frame=input')
    assert result.status == 0, result.err
    drawn = sorted(tmp_path.glob('maps/*/*.png'))
    assert len(drawn) == 8
    assert {cv2.imread(str(path)).shape
            for path in drawn} == {drawn_shape(48, 48)}


def test_no_validation(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--no-validate')
    assert result.status == 0, result.err
    work_dir = tmp_path / 'work_dirs' / 'tiny' / 'bottle'
    assert not (work_dir / 'metrics.json').exists()
    states = [
        load_checkpoint(str(folder / 'epoch_1.pth'))['state_dict']
        for folder in (work_dir, trained / 'work')
    ]
    assert all(
        torch.equal(states[0][name], value)
        for name, value in states[1].items())


def test_weights_from_a_file(run_tool, config, tmp_path):
    torch.manual_seed(1)
    backbone = TorchvisionBackbone('resnet18', ['layer2', 'layer3'], None)
    torch.save(backbone.body.state_dict(), tmp_path / 'weights.pth')
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--no-validate',
                      '--weights', 'weights.pth')
    assert result.status == 0, result.err
    found = load_checkpoint(
        str(tmp_path / 'work_dirs/tiny/bottle/epoch_1.pth'))['state_dict']
    for name, value in backbone.state_dict().items():
        assert torch.equal(found[f'backbone.{name}'], value)


def test_a_dumped_config_trains_again(run_tool, config, trained, tmp_path):
    dumped = trained / 'work' / config.name
    assert not {'loader', 'pipeline', 'data_root'} & set(
        Config.fromfile(dumped))
    result = run_tool(tmp_path, 'train.py', dumped, '--work-dir', 'work')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'work') == metrics(trained / 'work')


def test_print_config(config, tmp_path):
    # The one that runs in an interpreter of its own, as from a shell.
    result = subprocess.run([
        sys.executable, TOOLS / 'print_config.py', config, '--category',
        'cable', '--cfg-options', 'model.coreset_ratio=0.5'
    ],
                            capture_output=True,
                            text=True,
                            cwd=tmp_path,
                            check=False,
                            env=dict(os.environ, PYTHONPATH=str(TOOLS.parent)))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ''
    cfg = Config.fromstring(result.stdout, '.py')
    assert cfg.model.coreset_ratio == 0.5
    assert cfg.model.type == 'PatchCore'
    assert cfg.train_dataloader.dataset.category == 'cable'


def test_browse_dataset(run_tool, config, tmp_path):
    result = run_tool(tmp_path, 'browse_dataset.py', config, *CATEGORY,
                      '--split', 'test', '--out-dir', 'images', '--number',
                      '5')
    assert result.status == 0, result.err
    assert '5 of 8 images' in result.out
    drawn = sorted(tmp_path.glob('images/*/*.png'))
    assert len(drawn) == 5
    for path in drawn:
        image = cv2.imread(str(path))
        white = (image == 255).all(2)
        assert image.shape == (48, 48, 3)
        assert np.any(white) == (path.parent.name != 'good')
