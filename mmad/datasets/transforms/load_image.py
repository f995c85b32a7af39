import numpy as np
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps

from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.utils import check_number
from mmad.utils.image_file import (
    MAX_PIXELS,
    bits_per_channel,
    open_image,
    read_pixels,
)


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Load an image with Pillow.

    Unlike OpenCV, Pillow refuses a truncated file and does not fill the
    missing part with gray. BMP, JPEG, PNG, TIFF and WebP files are read,
    whatever their suffix, and rotated upright according to their EXIF data.

    Files with more than 8 bits per channel are refused unless ``bit_depth``
    is set, since the file does not say how many bits the camera used. With
    ``bit_depth``, the values 0 to ``2 ** bit_depth - 1`` are scaled to 0 to
    255 and rounded. Files with 8 bits are not changed.

    Required Keys:

    - img_path

    Added Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8, BGR.
    - img_shape, ori_shape (tuple[int, int])

    Args:
        bit_depth (int, optional): Number of bits, from 8 to 16, that are used
            in files with more than 8 bits per channel, such as 12 for a
            12-bit camera that writes 16-bit files. Defaults to None: refuse
            such files.
        max_pixels (int): Maximum number of pixels of an image, checked before
            it is decoded. Defaults to 100 million.

    Raises:
        InputError: If an argument is out of range; the file is missing,
            empty, truncated, too large, not an image or several images; or it
            has more than 8 bits per channel and ``bit_depth`` is missing or
            too small.
    """

    def __init__(self,
                 bit_depth: int | None = None,
                 max_pixels: int = MAX_PIXELS) -> None:
        super().__init__(imdecode_backend='pillow')
        check_number(
            'bit_depth',
            bit_depth,
            low=8,
            high=16,
            integer=True,
            optional=True)
        check_number('max_pixels', max_pixels, low=1, integer=True)
        self.bit_depth = bit_depth
        self.max_pixels = max_pixels

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        if 'img' in results:
            raise InputError(
                f'the pixels of image "{path}" are already loaded by the data '
                'set; leave LoadImage out of the pipeline.')
        with open_image(path, self.max_pixels) as image:
            if bits_per_channel(image) > 8:
                image = self._to_eight_bits(image, path)
            array = np.array(_to_rgb(ImageOps.exif_transpose(image)))
        results['img'] = array[..., ::-1]
        results['img_shape'] = results['ori_shape'] = array.shape[:2]
        return results

    def _to_eight_bits(self, image: Image.Image, path: str) -> Image.Image:
        if self.bit_depth is None:
            raise InputError(
                f'image "{path}" has more than 8 bits per channel (mode '
                f'{image.mode}); say how many are used, for example with '
                'dict(type="LoadImage", bit_depth=12), in every pipeline, or '
                'convert it to 8 bits.')
        pixels = read_pixels(image, path)
        if pixels.dtype == np.int32:  # 16 bits too, in older Pillow
            pixels = pixels.clip(-1, 1 << 16)
        elif pixels.dtype != np.uint16:
            raise InputError(
                f'image "{path}" has values of type {pixels.dtype}; convert '
                'it to 8 or 16 bits.')
        colors = None
        if pixels.ndim == 3:  # without alpha
            colors = 1 if pixels.shape[2] == 2 else 3
        color = pixels if colors is None else pixels[..., :colors]
        limit = (1 << self.bit_depth) - 1
        if color.min() < 0 or color.max() > limit:
            raise InputError(
                f'image "{path}" has values from {color.min()} to '
                f'{color.max()}, which is not within the 0 to {limit} of '
                f'`bit_depth={self.bit_depth}`; correct it in the pipelines.')
        scaled = np.round(color.astype(np.float64) * (255 / limit)).astype(
            np.uint8)
        if colors is not None and colors < pixels.shape[2]:
            alpha = (pixels[..., colors:] >> 8).astype(np.uint8)
            scaled = np.concatenate([scaled, alpha], axis=2)
        return Image.fromarray(scaled)


def _to_rgb(image: Image.Image) -> Image.Image:
    # The same conversion as in MMCV.
    if image.mode == 'LA':
        canvas = Image.new('RGB', image.size, (124, 117, 104))
        layers = image.convert('RGBA')
        canvas.paste(layers, mask=layers.getchannel('A'))
        return canvas
    if isinstance(image.info.get('transparency'), bytes):
        image = image.convert('RGBA')  # otherwise Pillow warns
    return image if image.mode == 'RGB' else image.convert('RGB')
