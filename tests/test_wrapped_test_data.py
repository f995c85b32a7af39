"""Data sets around data sets, to test with."""
import json

import cv2
import numpy as np
import pytest
from small_data import write_data

from mmad.errors import InputError
from mmad.utils.command_line import check_data


@pytest.fixture
def two_roots(mvtec_root, tmp_path):
    """The data sets of two places with equal names, one of 12-bit images."""
    other = tmp_path / 'other'
    write_data(other / 'bottle', seed=1)
    for path in other.glob('bottle/*/*/*.png'):
        if 'ground_truth' not in path.parts:
            image = cv2.imread(str(path)).astype(np.uint16) * 16
            cv2.imwrite(str(path), image)
    return mvtec_root, other


@pytest.fixture
def concatenated(load_cfg, two_roots):
    """A config of two data sets to test with."""
    dataset = load_cfg('config').test_dataloader.dataset
    deep = [
        dict(step, bit_depth=12) if step['type'] == 'LoadImage' else step
        for step in dataset.pipeline
    ]
    return dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(dataset, data_root=str(two_roots[0]), split='test'),
            dict(
                dataset,
                data_root=str(two_roots[1]),
                split='test',
                pipeline=deep,
                metainfo=None,
                indices=7)
        ])


@pytest.mark.parametrize('frame', ['input', 'original'])
def test_two_data_sets_are_tested_as_one(make_runner, fitted, concatenated,
                                         tmp_path, frame):
    runner = make_runner(
        'config', **{
            'load_from': f'{fitted.work_dir}/epoch_1.pth',
            'test_dataloader.dataset': concatenated,
            'default_hooks.visualization': dict(enable=True, frame=frame)
        })
    metrics = runner.test()
    assert 0 <= metrics['aupro'] <= 1
    report = json.loads((tmp_path / 'metrics.json').read_text())
    assert report['conditions']['images'] == 15
    assert report['conditions']['images_with_mask'] == 5 + 4
    assert set(report['per_defect_type']) == {'hole', 'scratch'}
    drawn = {
        path.parent.name + '/' + path.stem
        for path in tmp_path.glob('visualization/*/*.png')
    }
    assert len(drawn) == 15
    # The second of a name gets a number.
    assert {'good/000', 'good/000_2', 'scratch/002'} <= drawn
    # Not by the reader of the other data set, which refuses it or is white.
    if frame == 'original':
        first, = tmp_path.glob('visualization/good/000_2.png')
        height, width = cv2.imread(str(first)).shape[:2]
        image = cv2.imread(str(first))[height // 4:height // 2, :width // 4]
        assert image.mean() < 250


def test_trained_images_among_several_data_sets(load_cfg, concatenated):
    cfg = load_cfg('config')
    cfg.merge_from_dict({'test_dataloader.dataset': concatenated})
    check_data(cfg, ['train_dataloader', 'test_dataloader'])
    leak = cfg.test_dataloader.dataset.datasets[1]
    train = cfg.train_dataloader.dataset
    leak.update(
        type='FolderDataset',
        data_root=train.data_root,
        normal_dir='bottle/test/good',
        normal_test_dir='bottle/train/good',
        pipeline=train.pipeline)
    for key in ('category', 'indices'):
        del leak[key]
    with pytest.raises(InputError, match='are training images'):
        check_data(cfg, ['train_dataloader', 'test_dataloader'])
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=train)
    with pytest.raises(InputError, match='are training images'):
        check_data(cfg, ['train_dataloader', 'test_dataloader'])
