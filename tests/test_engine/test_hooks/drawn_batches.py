"""Batches of scored images to draw, and what was drawn."""
import logging
from types import SimpleNamespace

import torch

from mmad.structures import AnomalyDataSample
from mmad.visualization import AnomalyVisualizer


def batch(start, number=2, path='x/{:03}.png'):
    images = [
        torch.full((3, 10, 12), 20 * i, dtype=torch.uint8)
        for i in range(start, start + number)
    ]
    samples = [
        AnomalyDataSample(
            metainfo=dict(
                img_path=path.format(i),
                sample_idx=i,
                defect_type='cut' if i % 2 else 'good'),
            pred_score=float(i),
            pred_map=torch.full((10, 12), float(i)))
        for i in range(start, start + number)
    ]
    return dict(inputs=images), samples


def drawing_runner(tmp_path):
    """A runner that tests on no data."""
    return SimpleNamespace(
        work_dir=str(tmp_path / 'work'),
        logger=logging.Logger('show'),
        visualizer=AnomalyVisualizer('show'),
        test_dataloader=SimpleNamespace(dataset=[]),
        cfg={})


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*.png'))
