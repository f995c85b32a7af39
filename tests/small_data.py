"""Small data sets with the folders of MVTec AD, LOCO and AD 2."""
import json

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 56


def _image(rng, defect=None):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = 110 + 40 * np.sin(rows / 3) + 30 * np.cos(columns / 4)
    image = waves[..., None] + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if defect is not None:
        # Inside the central crop of the tools' tests.
        top, left = rng.integers(14, 24, 2)
        size = (4, 14) if defect == 'scratch' else (9, 9)
        mask[top:top + size[0], left:left + size[1]] = True
        image[mask] = 250 if defect == 'scratch' else 5
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _write_images(folder, rng, number, defect=None, suffix=''):
    """Write images; return their masks."""
    folder.mkdir(parents=True)
    masks = []
    for i in range(number):
        image, mask = _image(rng, defect)
        Image.fromarray(image).save(folder / f'{i:03}{suffix}.png')
        masks.append(mask)
    return masks


def write_data(folder, num_train=7, seed=0):
    """A category in MVTec layout: 2 defect types, 8 test images."""
    rng = np.random.default_rng(seed)
    splits = [('train/good', None, num_train), ('test/good', None, 3),
              ('test/hole', 'hole', 2), ('test/scratch', 'scratch', 3)]
    for name, defect, number in splits:
        (folder / name).mkdir(parents=True)
        if defect is not None:
            (folder / 'ground_truth' / defect).mkdir(parents=True)
        for i in range(number):
            image, mask = _image(rng, defect)
            Image.fromarray(image).save(folder / name / f'{i:03}.png')
            if defect is not None:
                Image.fromarray(mask.astype(np.uint8) * 255).save(
                    folder / 'ground_truth' / defect / f'{i:03}_mask.png')


# Kinds of defects of LOCO, and how much of each has to be found.
LOCO_DEFECTS = [
    dict(
        defect_name='missing_part',
        pixel_value=255,
        saturation_threshold=30,
        relative_saturation=False),
    dict(
        defect_name='additional_part',
        pixel_value=254,
        saturation_threshold=0.5,
        relative_saturation=True),
    dict(
        defect_name='scratch',
        pixel_value=237,
        saturation_threshold=1.0,
        relative_saturation=True),
]


def write_loco_data(folder, num_train=7, seed=0):
    """A category of MVTec LOCO AD: 8 test images, 7 defective regions.

    Each logical anomaly has two regions, which overlap.
    """
    rng = np.random.default_rng(seed)
    for name, number in (('train', num_train), ('validation', 2), ('test', 3)):
        _write_images(folder / name / 'good', rng, number)
    for name, defect, number in (('logical_anomalies', 'hole', 2),
                                 ('structural_anomalies', 'scratch', 3)):
        masks = _write_images(folder / 'test' / name, rng, number, defect)
        for i, mask in enumerate(masks):
            regions = [(mask, 237)]
            if defect == 'hole':
                regions = [(mask, 255), (np.roll(mask, 3, 1), 254)]
            truth = folder / 'ground_truth' / name / f'{i:03}'
            truth.mkdir(parents=True)
            for number, (region, value) in enumerate(regions):
                Image.fromarray(np.uint8(value * region)).save(
                    truth / f'{number:03}.png')
    (folder / 'defects_config.json').write_text(json.dumps(LOCO_DEFECTS))


def write_ad_2_data(folder, num_train=7, seed=0):
    """A category of MVTec AD 2: 6 test images, and 4 without labels."""
    rng = np.random.default_rng(seed)
    for name, number in (('train/good', num_train), ('validation/good', 2),
                         ('test_public/good',
                          3), ('test_private', 2), ('test_private_mixed', 2)):
        _write_images(folder / name, rng, number, suffix='_regular')
    test = folder / 'test_public'
    masks = _write_images(test / 'bad', rng, 3, 'scratch', '_regular')
    truth = test / 'ground_truth' / 'bad'
    truth.mkdir(parents=True)
    for i, mask in enumerate(masks):
        Image.fromarray(np.uint8(255 * mask)).save(truth /
                                                   f'{i:03}_regular_mask.png')
