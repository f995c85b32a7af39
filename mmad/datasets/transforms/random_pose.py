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
    """Rotate and crop an image at random, but always in the same way.

    This turns MVTec AD into Rd-MVTec of the PaDiM paper (arXiv 2011.08785),
    in which objects are not aligned. The rotation and the crop only depend on
    the seed and on the pixels of the image, so they are the same in every
    epoch, run and process.

    The paper does not say how pixels beyond the border are filled. Here, the
    image and the mask are reflected, so there are no black corners, and the
    reflection of a defect is labeled as a defect.

    Required Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8.
    - gt_seg_map (np.ndarray, optional): ``(H, W)`` uint8.

    Modified Keys:

    - img (bilinear), gt_seg_map (nearest neighbor), img_shape

    Added Keys:

    - rotation (float): In degrees, counter-clockwise.
    - resized_shape (tuple[int, int]): Height and width before the crop.
    - crop_offset (tuple[int, int]): Top and left edge of the crop.

    Args:
        angle (float): Largest rotation in either direction, 0 to 180 degrees.
            Defaults to 10.
        crop_size (int | tuple[int, int]): Side, or width and height, in
            pixels. Defaults to 224.
        seed (int): Seed of the rotations and crops. Defaults to 0.

    Raises:
        InputError: If an argument is out of range, or the crop is larger than
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
                f'{crop_height}; resize it to a larger size, or crop less.')
        before = current_frame(results)
        rng = self._generator(image)
        rotation = rng.uniform(-self.angle, self.angle)
        top = int(rng.integers(height - crop_height, endpoint=True))
        left = int(rng.integers(width - crop_width, endpoint=True))
        # Rotate and crop in one step, so that pixels are interpolated once.
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
