import mmcv.transforms

from mmad.errors import InputError
from mmad.registry import TRANSFORMS

from .frame_tracking import current_frame, note_crop


@TRANSFORMS.register_module()
class CenterCrop(mmcv.transforms.CenterCrop):
    """Crop the center of an image and record the place of the crop.

    The crop is the same as in MMCV.

    Added Keys:

    - resized_shape (tuple[int, int]): Height and width before cropping.
    - crop_offset (tuple[int, int]): Top and left edge of the crop.

    Raises:
        InputError: If the crop is larger than the image.
    """

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        crop_width, crop_height = self.crop_size
        if crop_height > height or crop_width > width:
            raise InputError(
                f'image "{results.get("img_path")}" is {width}x{height} '
                f'after resizing, smaller than the crop of {crop_width}x'
                f'{crop_height}; resize it to a larger size, or crop less.')
        before = current_frame(results)
        results = super().transform(results)
        note_crop(results, before, (height, width), (round(
            (height - crop_height) / 2), round((width - crop_width) / 2)))
        return results
