import mmcv.transforms

from mmad.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CenterCrop(mmcv.transforms.CenterCrop):
    """mmcv's centre crop, which also notes what it cut from.

    Added Keys:

    - resized_shape (tuple[int, int]): Height and width before the crop.
    - crop_offset (tuple[int, int]): Top and left edge of the crop.

    Raises:
        ValueError: The crop is larger than the image (from mmcv's padding
            rules, none is added here).
    """

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        results = super().transform(results)
        crop_height, crop_width = results['img'].shape[:2]
        results['resized_shape'] = (height, width)
        results['crop_offset'] = (round((height - crop_height) / 2),
                                  round((width - crop_width) / 2))
        return results
