"""Predicted samples for tests of PixelMetric."""
import cv2
import numpy as np
import torch

from mmad.evaluation import PixelMetric

DEFECT_TYPES = ['good', 'cut', 'hole', 'good', 'cut', 'good', 'hole']


def make_samples(defect_types, seed=0, size=(24, 20)):
    rng = np.random.default_rng(seed)
    samples = []
    for index, defect_type in enumerate(defect_types):
        mask = np.zeros(size, dtype=bool)
        if defect_type != 'good':
            mask[3:7, 4:9] = mask[15, 15] = True
        scores = np.round(rng.standard_normal(size) + 1.5 * mask, 1)
        samples.append(
            dict(
                pred_map=torch.from_numpy(scores.astype(np.float32)),
                gt_label=torch.tensor(int(defect_type != 'good')),
                gt_mask=torch.from_numpy(mask),
                defect_type=defect_type,
                ori_shape=size,
                img_path=f'{defect_type}/{index}.png',
                mask_path=None
                if defect_type == 'good' else f'{defect_type}/{index}_m.png',
            ))
    return samples


def run(samples, **kwargs):
    metric = PixelMetric(**kwargs)
    for sample in samples:
        metric.process(None, [sample])
    return metric, metric.evaluate(len(samples))


def put_on_disk(samples, folder, size, values=255):
    for sample in samples:
        sample['ori_shape'] = size
        if sample['mask_path'] is not None:
            mask = np.zeros(size, dtype=np.uint8)
            mask[5:20, 10:30] = values
            sample['mask_path'] = str(folder / f'{len(list(folder.iterdir()))}'
                                      '.png')
            cv2.imwrite(sample['mask_path'], mask)
