import logging
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn_batches import batch, drawing_runner, names
from mmengine.dataset import DefaultSampler
from mmengine.visualization import Visualizer

from mmad.errors import InputError
from mmad.registry import DATASETS, HOOKS
from mmad.structures import AnomalyDataSample
from mmad.visualization import AnomalyVisualizer


@pytest.fixture
def runner(tmp_path):
    return drawing_runner(tmp_path)


def show(runner, path='x/{:03}.png', **kwargs):
    hook = HOOKS.build(dict(type='VisualizationHook', **kwargs))
    for _ in range(2):  # a second epoch begins anew
        hook.before_test_epoch(runner)
        for i in range(3):
            hook.after_test_iter(runner, i, *batch(2 * i, path=path))
        hook.after_test_epoch(runner)


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
        f'{defect_type}/{name}.png' for defect_type in ('cut', 'good')
        for name in ('part', 'part_2', 'part_3')
    ]


def test_one_scale_for_all(runner, tmp_path):
    show(runner, enable=True, out_dir=str(tmp_path / 'maps'))
    heat = {}
    for name in names(tmp_path / 'maps'):
        drawn = cv2.imread(str(tmp_path / 'maps' / name))
        height, width = drawn.shape[:2]
        heat[name[-5]] = drawn[height * 6 // 10, width * 3 // 4].astype(int)
    # No color up to a quarter of the way from the median of the means, 2.5.
    for number in '0123':
        assert np.ptp(heat[number]) == 0
    assert np.ptp(heat['4']) > 40
    assert heat['5'].sum() > heat['4'].sum()


@pytest.mark.parametrize(('kwargs', 'expected'), [
    (dict(interval=2), ['good/000.png', 'good/002.png', 'good/004.png']),
    (dict(interval=3), ['cut/003.png', 'good/000.png']),
    (dict(max_images=2), ['cut/001.png', 'good/000.png']),
])
def test_some_images(runner, tmp_path, kwargs, expected):
    show(runner, enable=True, out_dir=str(tmp_path / 'maps'), **kwargs)
    assert names(tmp_path / 'maps') == expected


def show_share(rank, world, size, batch_size, folder, kwargs):
    """Draw what the sampler deals to this process."""
    folder = folder / f'{size}-{batch_size}-{len(kwargs)}-{world}'
    runner = SimpleNamespace(
        work_dir=str(folder),
        logger=logging.Logger('show'),
        visualizer=AnomalyVisualizer('show'),
        test_dataloader=SimpleNamespace(dataset=range(size)),
        cfg={})
    images, samples = batch(0, size, path='{:03}/x.png')
    # Padding would change the scale: the first image is the hottest.
    samples[0].pred_map += 50
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(img_path=f'x/{i // 3}.png'))
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True, **kwargs))
    hook.before_test(runner)
    hook.before_test_epoch(runner)
    dealt = list(DefaultSampler(range(size), shuffle=False))
    for start in range(0, len(dealt), batch_size):
        chosen = dealt[start:start + batch_size]
        hook.after_test_iter(
            runner, 0, dict(inputs=[images['inputs'][i] for i in chosen]),
            [samples[i] for i in chosen])
    hook.after_test_epoch(runner)
    return folder / 'visualization'


@pytest.mark.parametrize(('size', 'batch_size', 'kwargs'),
                         [(7, 3, {}), (5, 2, dict(interval=2)), (1, 1, {}),
                          (11, 4, dict(interval=3, max_images=2)),
                          (4, 2, dict(max_images=3))])
def test_any_number_of_processes_draws_the_same(run_processes, tmp_path, size,
                                                batch_size, kwargs):
    alone = show_share(0, 1, size, batch_size, tmp_path, kwargs)
    assert len(names(alone)) == min(-(-size // kwargs.get('interval', 1)),
                                    kwargs.get('max_images', 99))
    for world in (2, 3):
        run_processes(world, show_share_quietly, world, size, batch_size,
                      tmp_path, kwargs)
        other = tmp_path / f'{size}-{batch_size}-{len(kwargs)}-{world}'
        assert names(other / 'visualization') == names(alone)
        for name in names(alone):
            assert (other / 'visualization' /
                    name).read_bytes() == (alone / name).read_bytes()


def show_share_quietly(*args):
    show_share(*args)


@pytest.mark.parametrize(
    'defect_type',
    ['../x', '/tmp/x', '..', 'a/../../b', 'a\0', 'C:\\x', '..\\x'],
)
@pytest.mark.parametrize('threshold', [None, 1.0])
def test_names_from_data_stay_in_the_folder(runner, tmp_path, defect_type,
                                            threshold):
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True))
    hook.before_test(runner)
    hook.before_test_epoch(runner)
    data, samples = batch(0)
    samples[1].set_metainfo(
        dict(defect_type=defect_type, pixel_threshold=threshold))
    before = sorted(tmp_path.rglob('*'))
    # When it comes, not when all is done.
    with pytest.raises(InputError, match='would lead outside'):
        hook.after_test_iter(runner, 0, dict(inputs=data['inputs'][:1]),
                             samples[1:])
    assert sorted(tmp_path.rglob('*')) == before


def test_names_that_the_data_lack(runner, tmp_path):
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True))
    hook.before_test_epoch(runner)
    data, samples = batch(0)
    samples = [
        AnomalyDataSample(pred_map=sample.pred_map) for sample in samples
    ]
    hook.after_test_iter(runner, 0, data, samples)
    hook.after_test_epoch(runner)
    assert names(tmp_path / 'work/visualization') == [
        'unknown/image_0.png', 'unknown/image_1.png'
    ]


@pytest.mark.parametrize('kwargs', [
    dict(interval=0),
    dict(interval=-1),
    dict(interval=1.5),
    dict(interval=None),
    dict(max_images=0),
    dict(max_images='3'),
    dict(frame='full'),
    dict(frame=None)
])
def test_bad_arguments_are_refused(kwargs):
    with pytest.raises(InputError, match=next(iter(kwargs))):
        HOOKS.build(dict(type='VisualizationHook', **kwargs))


@pytest.mark.parametrize('place', ['file', 'file/below', 'file/a/b'])
def test_a_folder_that_cannot_be_is_refused_first(runner, tmp_path, place):
    (tmp_path / 'file').touch()
    kwargs = dict(type='VisualizationHook', out_dir=str(tmp_path / place))
    with pytest.raises(InputError, match='cannot be written to'):
        HOOKS.build(dict(kwargs, enable=True)).before_test(runner)
    HOOKS.build(kwargs).before_test(runner)
    assert os.listdir(tmp_path) == ['file']


def test_another_visualizer_of_the_family(runner, tmp_path):
    show(runner, enable=True)
    runner.visualizer = Visualizer()
    show(runner, enable=True, out_dir=str(tmp_path / 'other'))
    assert names(tmp_path / 'other') == names(tmp_path / 'work/visualization')
    for name in names(tmp_path / 'other'):
        assert (tmp_path / 'other' /
                name).read_bytes() == (tmp_path / 'work/visualization' /
                                       name).read_bytes()


@pytest.mark.parametrize('border', [float('nan'), 1e6, float('inf')])
def test_the_border_of_a_letterbox_has_no_say(runner, tmp_path, border):
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True))
    files = []
    for value in (0.0, border):
        hook.before_test_epoch(runner)
        data, samples = batch(0, 4)
        for sample in samples:
            sample.set_metainfo(
                dict(resized_shape=(6, 12), crop_offset=(-2, 0)))
            sample.pred_map[:2] = sample.pred_map[8:] = value
        hook.after_test_iter(runner, 0, data, samples)
        hook.after_test_epoch(runner)
        files.append([(tmp_path / 'work/visualization' / name).read_bytes()
                      for name in names(tmp_path / 'work/visualization')])
    assert files[0] == files[1]


def test_maps_that_are_nowhere_finite(runner, tmp_path):
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True))
    hook.before_test_epoch(runner)
    data, samples = batch(0)
    for sample in samples:
        sample.pred_map[:] = float('nan')
    hook.after_test_iter(runner, 0, data, samples)
    hook.after_test_epoch(runner)
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize('split', ['train', 'test'])
def test_drawings_never_replace_data(runner, own_root, split):
    dataset = dict(
        type='AnomalyDataset',
        data_root=str(own_root),
        category='bottle',
        split='test')
    runner.test_dataloader.dataset = DATASETS.build(dataset)
    runner.cfg = dict(
        train_dataloader=dict(dataset=dict(dataset, split='train')))
    folder = own_root / 'bottle' / split
    hook = HOOKS.build(
        dict(type='VisualizationHook', enable=True, out_dir=str(folder)))
    with pytest.raises(InputError, match='might replace'):
        hook.before_test(runner)
    # Machines that only test need not have what was trained with.
    runner.cfg['train_dataloader']['dataset']['data_root'] = 'nowhere'
    hook.out_dir = str(own_root / 'drawn')
    hook.before_test(runner)
