"""Work directories as tests leave them behind, for reports."""
import json

import numpy as np
from PIL import Image

from mmad.evaluation.example import Example
from mmad.evaluation.functional import rank, thin
from mmad.evaluation.predictions import Predictions
from mmad.structures import AnomalyDataSample

SIZE = 24, 32
TYPES = ['cut', 'dent']


def draw_scores(num_good=20, num_bad=15, seed=0):
    """Scores of two kinds of images that overlap, with ties."""
    rng = np.random.default_rng(seed)
    good = rng.normal(2, 0.5, num_good).round(1)
    bad = rng.normal(3, 0.6, num_bad).round(1)
    kinds = np.append(np.zeros(num_good), 1 + np.arange(num_bad) % 2)
    return np.append(good, bad).astype(np.float32), kinds.astype(np.int32)


def make_predictions(folder, scores, kinds, names=None, types=TYPES, **about):
    """Write image files and masks, and predict them."""
    rng = np.random.default_rng(1)
    paths, examples = [], []
    for place, (score, kind) in enumerate(zip(scores, kinds)):
        name = names[place] if names else f'{place:03}.png'
        path = folder / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 200, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path, 'PNG')
        mask_path = None
        if kind:
            mask = np.zeros(SIZE, bool)
            mask[5:9, 5:12] = True
            mask_path = folder / 'masks' / f'{place:03}.png'
            mask_path.parent.mkdir(exist_ok=True)
            Image.fromarray(mask).save(mask_path)
        info = dict(mask_path=mask_path, ori_shape=SIZE, resized_shape=SIZE)
        sample = AnomalyDataSample(metainfo=info)
        sample.pred_map = rng.random(SIZE).astype(np.float32) * float(score)
        examples.append(Example.of(sample.to_dict(), place))
        paths.append(str(path))
    pixels = rng.random(2000).astype(np.float32)
    labels = pixels + rng.normal(0, 0.3, 2000) > 0.8
    ranking = rank(pixels, labels, np.full(2000, 0.01), 5)
    return Predictions(paths, scores, kinds, types if kinds.any() else [],
                       None, examples, thin(ranking, 0.3), about)


def write_run(folder, predictions=None, **metrics):
    """Write the files of a test into a work directory."""
    folder.mkdir(parents=True, exist_ok=True)
    if predictions is not None:
        predictions.save(folder / 'predictions.npz')
        conditions = dict(
            images=len(predictions),
            defective_images=int(predictions.is_defective.sum()),
            resolution='input',
            fpr_limit=0.3,
            map_size='24x32')
        metrics.setdefault('conditions', conditions)
    metrics.setdefault('image_auroc', 0.9)
    (folder / 'metrics.json').write_text(json.dumps(metrics))
    return folder
