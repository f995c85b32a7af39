import logging
from types import SimpleNamespace

import cv2
import pytest
import torch

from mmad.registry import HOOKS
from mmad.structures import AnomalyDataSample
from mmad.visualization import AnomalyVisualizer


def batch(start, number=2, path='x/{:03}.png'):
    images = [torch.full((3, 10, 12), 40 * i, dtype=torch.uint8)
              for i in range(start, start + number)]
    samples = [AnomalyDataSample(
        metainfo=dict(img_path=path.format(i), sample_idx=i,
                      kind='cut' if i % 2 else 'good'),
        pred_score=float(i), pred_map=torch.full((10, 12), float(i)))
        for i in range(start, start + number)]
    return dict(inputs=images), samples


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(
        work_dir=str(tmp_path / 'work'), logger=logging.Logger('show'),
        visualizer=AnomalyVisualizer('show'))


def show(runner, path='x/{:03}.png', **kwargs):
    hook = HOOKS.build(dict(type='VisualizationHook', **kwargs))
    for _ in range(2):  # a second epoch begins anew
        hook.before_test_epoch(runner)
        for i in range(3):
            hook.after_test_iter(runner, i, *batch(2 * i, path=path))
        hook.after_test_epoch(runner)


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*.png'))


def test_nothing_unless_asked(runner, tmp_path):
    show(runner)
    assert list(tmp_path.iterdir()) == []


def test_all_images(runner, tmp_path):
    show(runner, enable=True)
    assert names(tmp_path / 'work/visualization') == [
        'cut/001.png', 'cut/003.png', 'cut/005.png', 'good/000.png',
        'good/002.png', 'good/004.png'
    ]


def test_equal_stems_do_not_overwrite_each_other(runner, tmp_path):
    show(runner, 'x/{}/part.png', enable=True)
    assert names(tmp_path / 'work/visualization') == [
        f'{kind}/part_{i}.png' for kind, first in (('cut', 1), ('good', 0))
        for i in range(first, 6, 2)
    ]


def test_one_scale_for_all(runner, tmp_path):
    show(runner, enable=True, out_dir=str(tmp_path / 'maps'))
    heat = {name[-5]: int(cv2.imread(
        str(tmp_path / 'maps' / name))[24 + 5, 12 + 6].sum())
        for name in names(tmp_path / 'maps')}
    # The coldest colour up to the median of the means, 2.5.
    assert heat['0'] == heat['1'] == heat['2'] < heat['3'] < heat['4']
    assert heat['5'] > heat['4']


@pytest.mark.parametrize(('kwargs', 'expected'), [
    (dict(interval=2), ['good/000.png', 'good/002.png', 'good/004.png']),
    (dict(interval=3), ['cut/003.png', 'good/000.png']),
    (dict(max_images=2), ['cut/001.png', 'good/000.png']),
])
def test_some_images(runner, tmp_path, kwargs, expected):
    show(runner, enable=True, out_dir=str(tmp_path / 'maps'), **kwargs)
    assert names(tmp_path / 'maps') == expected
