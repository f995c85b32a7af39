"""A small data set with the folders of MVTec AD."""
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
