from mmcv.transforms import LoadImageFromFile
from PIL import Image

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Load an image with Pillow, and never half of one.

    OpenCV fills what a truncated file lacks with grey; Pillow refuses it.

    Required Keys:

    - img_path

    Added Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8, BGR.
    - img_shape, ori_shape (tuple[int, int])

    Raises:
        InputError: The file is missing, empty, truncated, no image, or has
            more than 8 bits per channel.
    """

    def __init__(self) -> None:
        super().__init__(imdecode_backend='pillow')

    def transform(self, results: dict) -> dict:
        try:
            with Image.open(results['img_path']) as image:
                mode = image.mode
            if mode.startswith(('I', 'F')):
                raise InputError(
                    f'image "{results["img_path"]}" has more than 8 bits per '
                    f'channel (mode {mode}); convert it to 8 bits.')
            return super().transform(results)
        except InputError:
            raise
        # Pillow reports a broken file in any of these.
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f'image "{results["img_path"]}" cannot be read '
                f'({type(error).__name__}: it is missing, truncated or not '
                'an image); replace or remove it.') from error
