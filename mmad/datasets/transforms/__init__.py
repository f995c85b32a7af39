from mmcv.transforms import Resize

from .center_crop import CenterCrop
from .letterbox import Letterbox
from .load_image import LoadImage
from .load_mask import LoadMask
from .pack_inputs import PackInputs
from .random_patch import RandomPatch
from .random_pose import RandomPose

__all__ = [
    'CenterCrop', 'Letterbox', 'LoadImage', 'LoadMask', 'PackInputs',
    'RandomPatch', 'RandomPose', 'Resize'
]
