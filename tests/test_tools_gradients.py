import json
import re
import shutil

import cv2
import pytest
import torch
from run_tools import CATEGORY, is_one_sentence, metrics

from mmad.apis import AnomalyInferencer
from mmad.datasets.pose_table import write_poses
from mmad.utils import load_checkpoint


@pytest.fixture(scope='module')
def trained_mkd(run_tool, mkd_config, tmp_path_factory):
    """Folder of a training by gradients, four epochs."""
    folder = tmp_path_factory.mktemp('trained_mkd')
    result = run_tool(folder, 'train.py', mkd_config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder / 'work'


def test_training_by_gradients_resumes(run_tool, mkd_config, trained_mkd,
                                       tmp_path):
    result = run_tool(tmp_path, 'train.py', mkd_config, *CATEGORY,
                      '--work-dir', 'work', '--resume',
                      trained_mkd / 'epoch_2.pth')
    assert result.status == 0, result.err
    states = [
        load_checkpoint(str(folder / 'epoch_4.pth'))['state_dict']
        for folder in (tmp_path / 'work', trained_mkd)
    ]
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name


def test_metrics_of_mkd(trained_mkd):
    report = json.loads(metrics(trained_mkd))
    assert report['conditions']['anomalous_only/anomalous_only'] is True
    assert report['pixel_auroc'] != report['anomalous_only/pixel_auroc']
    assert 0 <= report['image_auroc'] <= 1


def test_checkpoint_of_mkd_is_complete(trained_mkd, mvtec_root):
    inferencer = AnomalyInferencer(trained_mkd / 'epoch_4.pth', device='cpu')
    assert inferencer.model.weight > 0
    sample, = inferencer(mvtec_root / 'bottle/test/hole/000.png')
    assert sample.pred_map.shape == (48, 56)
    assert sample.pred_map.std() > 0


@pytest.fixture(scope='module')
def trained_fyd(run_tool, fyd_config, tmp_path_factory):
    """Folder of a training by gradients with a fit behind it."""
    folder = tmp_path_factory.mktemp('trained_fyd')
    result = run_tool(folder, 'train.py', fyd_config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder / 'work'


def test_training_before_a_fit_resumes(run_tool, fyd_config, trained_fyd,
                                       tmp_path):
    result = run_tool(tmp_path, 'train.py', fyd_config, *CATEGORY,
                      '--work-dir', 'work', '--resume',
                      trained_fyd / 'epoch_2.pth')
    assert result.status == 0, result.err
    states = [
        load_checkpoint(str(folder / 'epoch_4.pth'))['state_dict']
        for folder in (tmp_path / 'work', trained_fyd)
    ]
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name
    assert metrics(tmp_path / 'work') == metrics(trained_fyd)


def test_test_repeats_the_metrics_of_fyd(run_tool, fyd_config, trained_fyd,
                                         tmp_path):
    result = run_tool(tmp_path, 'test.py', fyd_config,
                      trained_fyd / 'epoch_4.pth', *CATEGORY, '--work-dir',
                      'test')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'test') == metrics(trained_fyd)


def test_show_alignment(run_tool, fyd_config, config, trained, trained_fyd,
                        tmp_path):
    result = run_tool(tmp_path, 'show_alignment.py', fyd_config,
                      trained_fyd / 'epoch_4.pth', *CATEGORY, '--split',
                      'test', '--number', '5', '--out', 'all.png')
    assert result.status == 0, result.err
    assert '8 images were aligned' in result.out
    assert 'shift_x' in result.out
    assert 'error of' not in result.out
    # The means and five pairs of 48 x 56, labelled, on white.
    picture = cv2.imread(str(tmp_path / 'all.png'))
    assert picture.shape[0] > 2 * 48
    assert picture.shape[1] > 6 * 56
    assert (picture[:8] == 255).all()
    result = run_tool(tmp_path, 'show_alignment.py', config,
                      trained / 'work/epoch_1.pth', *CATEGORY)
    assert is_one_sentence(result), result.err
    assert 'is of a PatchCore, which aligns nothing' in result.err
    for option, value in (('--number', '-1'), ('--out', 'x.jpg')):
        result = run_tool(tmp_path, 'show_alignment.py', fyd_config,
                          trained_fyd / 'epoch_4.pth', *CATEGORY, option,
                          value)
        assert is_one_sentence(result), result.err
        assert option in result.err


def test_show_alignment_with_poses(run_tool, fyd_config, trained_fyd,
                                   mvtec_root, tmp_path):
    copy = shutil.copytree(mvtec_root, tmp_path / 'data')
    names = [
        path.relative_to(copy / 'bottle').as_posix()
        for path in sorted((copy / 'bottle/train').rglob('*.png'))
    ]
    # Images with poses 30 degrees apart, which nothing has aligned.
    write_poses(copy / 'bottle/poses.csv',
                [(name, (30.0 * number, 0.5, 0.5))
                 for number, name in enumerate(names)])
    write_poses(tmp_path / 'short.csv', [(names[0], (0.0, 0.5, 0.5))])
    args = ('show_alignment.py', fyd_config, trained_fyd / 'epoch_4.pth',
            *CATEGORY, '--data-root', copy, '--number', '0')
    result = run_tool(tmp_path, *args)
    assert result.status == 0, result.err
    found = re.search(r'error of the angle: median ([\d.]+)', result.out)
    assert abs(float(found[1]) - 60) < 10
    assert 'error of the position: median' in result.out
    result = run_tool(tmp_path, *args, '--poses', 'short.csv')
    assert is_one_sentence(result), result.err
    assert 'does not list' in result.err


def test_checkpoint_of_another_method(run_tool, config, trained_mkd, tmp_path):
    result = run_tool(tmp_path, 'test.py', config, trained_mkd / 'epoch_4.pth',
                      *CATEGORY, '--work-dir', 'test')
    assert is_one_sentence(result), result.err
    assert "detector 'MKD' instead of 'PatchCore'" in result.err
