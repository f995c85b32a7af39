from mmcv.transforms import LoadImageFromFile

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
        InputError: The file is missing, empty, truncated or no image.
    """

    def __init__(self) -> None:
        super().__init__(imdecode_backend='pillow')

    def transform(self, results: dict) -> dict:
        try:
            return super().transform(results)
        # Pillow reports a broken file in any of these.
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f'image "{results["img_path"]}" cannot be read '
                f'({type(error).__name__}: it is missing, truncated or not '
                'an image); replace or remove it.') from error
