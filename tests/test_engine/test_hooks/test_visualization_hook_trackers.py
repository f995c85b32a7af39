import logging
from types import SimpleNamespace

import pytest
import torch
from drawn_batches import batch, drawing_runner, names
from mmengine.dataset import DefaultSampler
from mmengine.visualization import LocalVisBackend

from mmad.registry import HOOKS
from mmad.visualization import AnomalyVisualizer


class Tracker:

    def __init__(self):
        self.given = []

    def add_image(self, name, image, step):
        assert image.ndim == 3
        self.given.append((name, step))


@pytest.fixture
def runner(tmp_path):
    runner = drawing_runner(tmp_path)
    runner.visualizer._vis_backends['tracker'] = Tracker()
    runner._train_loop = None
    runner.val_dataloader = runner.test_dataloader
    runner.val_dataloader.dataset = range(6)
    return runner


def show(runner, mode, threshold=None, **kwargs):
    hook = HOOKS.build(dict(type='VisualizationHook', **kwargs))
    getattr(hook, f'before_{mode}_epoch')(runner)
    for start in (0, 2, 4):
        data, samples = batch(start)
        for sample in samples:
            sample.set_metainfo(dict(pixel_threshold=threshold))
        getattr(hook, f'after_{mode}_iter')(runner, 0, data, samples)
    getattr(hook, f'after_{mode}_epoch')(runner)
    return runner.visualizer._vis_backends['tracker'].given


@pytest.mark.parametrize('mode', ['val', 'test'])
@pytest.mark.parametrize('threshold', [None, 2.0])
def test_a_sample_of_the_images(runner, mode, threshold, tmp_path):
    given = show(runner, mode, threshold, tracked_images=3)
    assert given == [(f'{mode}_good_000', 0), (f'{mode}_good_002', 0),
                     (f'{mode}_cut_005', 0)]
    assert names(tmp_path) == []


def test_files_and_trackers(runner, tmp_path):
    given = show(runner, 'test', 2.0, tracked_images=2, enable=True)
    assert [name for name, _ in given] == ['test_good_000', 'test_cut_005']
    assert len(names(tmp_path / 'work/visualization')) == 6


def test_no_tracker(runner, tmp_path):
    assert show(runner, 'val', tracked_images=0) == []
    given = runner.visualizer._vis_backends.pop('tracker').given
    runner.visualizer._vis_backends['local'] = LocalVisBackend(str(tmp_path))
    hook = HOOKS.build(dict(type='VisualizationHook'))
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, *batch(0))
    hook.after_val_epoch(runner)
    assert given == []
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_as_images_come(runner, tmp_path):
    folder = tmp_path / 'work/visualization'
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True))
    hook.before_test_epoch(runner)
    for start in (0, 2):
        data, samples = batch(start)
        for sample in samples:
            sample.set_metainfo(dict(pixel_threshold=2.0))
        hook.after_test_iter(runner, 0, data, samples)
        assert len(list(folder.rglob('*.png'))) == start + 2
    # Neither images nor maps are kept.
    for picture in hook._files:
        assert picture.image is None
        assert 'pred_map' not in picture.sample
    hook.after_test_epoch(runner)
    assert names(folder) == [
        'cut/001.png', 'cut/003.png', 'good/000.png', 'good/002.png'
    ]
    assert sorted(p.name for p in folder.iterdir()) == ['cut', 'good']


def test_what_an_interrupted_test_left_is_removed(runner, tmp_path):
    left = tmp_path / 'work/visualization/.drawing-0-x'
    left.mkdir(parents=True)
    (left / '0.png').touch()
    HOOKS.build(dict(type='VisualizationHook')).before_test(runner)
    assert left.exists()
    HOOKS.build(dict(type='VisualizationHook',
                     enable=True)).before_test(runner)
    assert not left.exists()


def track_share(rank, world, folder):
    """Track what the sampler deals to this process."""
    tracker = Tracker()
    visualizer = AnomalyVisualizer('show')
    visualizer._vis_backends['tracker'] = tracker
    runner = SimpleNamespace(
        logger=logging.Logger('show'),
        visualizer=visualizer,
        _train_loop=None,
        work_dir=str(folder),
        val_dataloader=SimpleNamespace(dataset=range(7)))
    images, samples = batch(0, 7)
    hook = HOOKS.build(dict(type='VisualizationHook', tracked_images=3))
    hook.before_val_epoch(runner)
    for i in DefaultSampler(range(7), shuffle=False):
        hook.after_val_iter(runner, 0, dict(inputs=[images['inputs'][i]]),
                            [samples[i]])
    hook.after_val_epoch(runner)
    assert len(tracker.given) == (0 if rank else 3)


def test_the_first_process_has_what_it_tracks(run_processes, tmp_path):
    run_processes(2, track_share, 2, tmp_path)


def test_tensorboard(make_runner, mkd_config, tmp_path):
    pytest.importorskip('tensorboard', reason='needs the extra `tensorboard`')
    from tensorboard.backend.event_processing import event_accumulator
    runner = make_runner(
        'mkd_config', **{
            'visualizer.vis_backends': [dict(type='TensorboardVisBackend')],
            'default_hooks.visualization.tracked_images': 2,
            'default_hooks.logger.interval': 1,
            'train_cfg.max_epochs': 2,
        })
    runner.train()
    file, = tmp_path.rglob('events.out.tfevents.*')
    found = event_accumulator.EventAccumulator(str(file)).Reload()
    scalars = found.Tags()['scalars']
    assert {'loss', 'image_auroc', 'pixel_auroc'} <= set(scalars)
    loss = found.Scalars('loss')
    assert all(torch.isfinite(torch.tensor(event.value)) for event in loss)
    steps = [event.step for event in found.Scalars('image_auroc')]
    assert steps == [1, 2]
    images = found.Tags()['images']
    assert len(images) == 2
    for tag in images:
        assert tag.startswith('val_')
        events = found.Images(tag)
        assert [event.step for event in events] == steps
        assert events[0].encoded_image_string.startswith(b'\x89PNG')
