import hashlib

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.utils import as_size, check_number

from .frame_tracking import current_frame, note_crop


@TRANSFORMS.register_module()
class RandomPose(BaseTransform):
    """Rotate and crop an image at random, always in the same way.

    This makes the Rd-MVTec of PaDiM (arXiv 2011.08785) out of
    MVTec AD: parts that are not aligned. An image keeps its pose in every
    epoch, run and process, since nothing but the seed and its own pixels
    decide on it; not its place in the data set, nor its path, which an array
    does not have.

    The paper is silent on what lies beyond the border. Here it is the
    reflection of image and mask alike: no black corner gives the rotation
    away, and a reflected defect is labeled as one.

    Required Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8.
    - gt_seg_map (np.ndarray, optional): ``(H, W)`` uint8.

    Modified Keys:

    - img, bilinearly, gt_seg_map, by nearest neighbor, and img_shape

    Added Keys:

    - rotation (float): In degrees, counter-clockwise.
    - resized_shape (tuple[int, int]): Height and width before the crop.
    - crop_offset (tuple[int, int]): Top and left edge of the crop.

    Args:
        angle (float): Largest rotation either way, 0 to 180 degrees.
            Defaults to 10.
        crop_size (int | tuple[int, int]): Side, or width and height, in
            pixels. Defaults to 224.
        seed (int): Seed of the poses. Defaults to 0.

    Raises:
        InputError: An argument is out of range, or the crop is larger than
            the image.
    """

    def __init__(self,
                 angle: float = 10.0,
                 crop_size: int | tuple[int, int] = 224,
                 seed: int = 0) -> None:
        check_number('angle', angle, low=0, high=180)
        check_number('seed', seed, low=0, integer=True)
        self.angle = angle
        self.crop_size = as_size('crop_size', crop_size)
        self.seed = seed

    def transform(self, results: dict) -> dict:
        image = results['img']
        height, width = image.shape[:2]
        crop_width, crop_height = self.crop_size
        if crop_height > height or crop_width > width:
            raise InputError(
                f'image "{results.get("img_path")}" is {width}x{height} '
                f'after resizing, smaller than the crop of {crop_width}x'
                f'{crop_height}; resize it to more, or crop less.')
        before = current_frame(results)
        rng = self._generator(image)
        rotation = rng.uniform(-self.angle, self.angle)
        top = int(rng.integers(height - crop_height, endpoint=True))
        left = int(rng.integers(width - crop_width, endpoint=True))
        # Both at once, so that pixels are interpolated once.
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2),
                                         rotation, 1)
        matrix[:, 2] -= left, top
        for key, interpolation in (('img', cv2.INTER_LINEAR),
                                   ('gt_seg_map', cv2.INTER_NEAREST)):
            if key in results:
                results[key] = cv2.warpAffine(
                    results[key],
                    matrix,
                    self.crop_size,
                    flags=interpolation,
                    borderMode=cv2.BORDER_REFLECT)
        results['img_shape'] = (crop_height, crop_width)
        results['rotation'] = rotation
        note_crop(results, before, (height, width), (top, left))
        return results

    def _generator(self, image: np.ndarray) -> np.random.Generator:
        pixels = np.ascontiguousarray(image)
        digest = hashlib.blake2b(pixels.data, digest_size=8).digest()
        return np.random.default_rng(
            [self.seed, int.from_bytes(digest, 'little')])
