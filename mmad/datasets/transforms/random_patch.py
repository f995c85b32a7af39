import math

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.utils import check_flag, check_number, check_numbers


@TRANSFORMS.register_module()
class RandomPatch(BaseTransform):
    """Cut a random patch out of an image at a random scale.

    The transform is for the teachers of Uninformed Students (Bergmann et al.,
    CVPR 2020). The image is resized so that its shorter side is 4 to 16 times
    the side of the patch, and the patch is cut out at a random place. One
    patch in ten is converted to gray. The random numbers only depend on
    ``seed`` and ``sample_idx``.

    A varied version of the patch, for the metric loss, comes from nearby,
    with another brightness and contrast, and noise. It is not known for sure
    which scales, shares and sizes of these variations the paper has.

    Required Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8.
    - sample_idx (int)

    Modified Keys:

    - img: ``(p, p, 3)``; or ``(p, 2 p, 3)`` with the second version on the
      right.
    - img_shape

    Args:
        patch_size (int): ``p``, the side of the patch in pixels.
        scale (tuple[float, float]): Minimum and maximum of the shorter side
            of the image, in multiples of ``p``. Defaults to (4, 16).
        gray (float): Share of gray patches. Defaults to 0.1.
        positive (bool): Add the second version. Defaults to False.
        shift (float): Largest shift of the second version, in multiples of
            ``p``. Defaults to 0.25.
        contrast (float): Largest relative change of the contrast of the
            second version, and largest change of its brightness as a share of
            the range of values. Defaults to 0.1.
        noise (float): Standard deviation of the noise of the second version,
            as a share of the range of values. Defaults to 0.1.
        seed (int): Seed of the random numbers. Defaults to 0.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(self,
                 patch_size: int,
                 scale: tuple[float, float] = (4, 16),
                 gray: float = 0.1,
                 positive: bool = False,
                 shift: float = 0.25,
                 contrast: float = 0.1,
                 noise: float = 0.1,
                 seed: int = 0) -> None:
        check_number('patch_size', patch_size, low=1, integer=True)
        check_number('seed', seed, low=0, integer=True)
        check_numbers('scale', scale, low=1)
        if len(scale) != 2 or scale[0] > scale[1]:
            raise InputError('`scale` must be two ascending numbers, got '
                             f'{scale}.')
        check_number('gray', gray, low=0, high=1)
        check_flag('positive', positive)
        check_number('shift', shift, low=0)
        check_number('contrast', contrast, low=0)
        check_number('noise', noise, low=0)
        self.patch_size = patch_size
        self.scale = tuple(scale)
        self.gray = gray
        self.positive = positive
        self.shift = shift
        self.contrast = contrast
        self.noise = noise
        self.seed = seed

    def transform(self, results: dict) -> dict:
        image = results['img']
        rng = np.random.default_rng([self.seed, results['sample_idx']])
        # In pixels of the original image, so that only the patch is resized.
        side = min(image.shape[:2]) / rng.uniform(self.scale[0], self.scale[1])
        room = np.subtract(image.shape[:2], side)
        corner = rng.uniform(0, room)
        patches = [self._cut(image, corner, side)]
        if self.positive:
            shift = rng.uniform(-self.shift, self.shift, 2) * side
            near = np.clip(corner + shift, 0, room)
            patches.append(self._vary(self._cut(image, near, side), rng))
        patch = np.hstack(patches)
        if rng.random() < self.gray:
            patch = cv2.cvtColor(
                cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        results['img'] = patch
        results['img_shape'] = patch.shape[:2]
        return results

    def _cut(self, image: np.ndarray, corner: np.ndarray,
             side: float) -> np.ndarray:
        top, left = corner
        # Only convert the pixels that the filter of the resize needs.
        reach = 2 * math.ceil(max(1, side / self.patch_size))
        rows, columns = (
            slice(
                max(0,
                    math.floor(start) - reach),
                math.ceil(start + side) + reach) for start in (top, left))
        part = Image.fromarray(np.ascontiguousarray(image[rows, columns]))
        box = (left - columns.start, top - rows.start)
        return np.asarray(
            part.resize((self.patch_size, self.patch_size),
                        Image.Resampling.BILINEAR,
                        box=(*box, min(part.width, box[0] + side),
                             min(part.height, box[1] + side))))

    def _vary(self, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        factor = 1 + rng.uniform(-self.contrast, self.contrast)
        offset = 255 * rng.uniform(-self.contrast, self.contrast)
        mean = patch.mean()
        varied = (patch - mean) * factor + mean + offset
        varied += rng.normal(0, 255 * self.noise, patch.shape)
        return np.clip(np.round(varied), 0, 255).astype(np.uint8)
