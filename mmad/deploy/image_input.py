from collections.abc import Mapping
from typing import NamedTuple

import mmcv.transforms
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope

from mmad.apis.image_pipeline import require_pipeline
from mmad.datasets.transforms import LoadMask, PackInputs
from mmad.errors import InputError
from mmad.models import BaseDetector

_OUTSIDE = mmcv.transforms.LoadImageFromFile, LoadMask, PackInputs


class ImageInput(NamedTuple):
    """What a graph takes in place of the test pipeline.

    Attributes:
        size (tuple[int, int]): Height and width of the images.
        resize (dict | None): How images are brought to this size:
            ``height``, ``width``, ``keep_ratio``, ``interpolation`` and
            ``backend``. None: they have it.
        crop (tuple[slice, slice]): Rows and columns that the graph cuts out.
    """

    size: tuple[int, int]
    resize: dict | None
    crop: tuple[slice, slice]

    @classmethod
    def of(cls, detector: BaseDetector, checkpoint: str) -> 'ImageInput':
        """Read the test pipeline of a detector.

        Args:
            detector (BaseDetector): As
                :func:`~mmad.apis.init_model` returns it.
            checkpoint (str): Where it comes from, for messages.

        Raises:
            InputError: There is no pipeline, or a step of it depends on the
                image and so has no place in a graph.
        """
        steps = require_pipeline(detector.cfg, f'of "{checkpoint}"')
        resize, size, place = None, None, (0, 0)
        with DefaultScope.overwrite_default_scope('mmad'):
            built = Compose(steps).transforms
        for step, given in zip(built, steps):
            if isinstance(step, mmcv.transforms.Resize) and size is None:
                resize = _describe(step)
                size = first = resize['height'], resize['width']
            elif isinstance(step, mmcv.transforms.CenterCrop) and size:
                size, place = _crop(step, size, place)
            elif not isinstance(step, _OUTSIDE):
                name = given.get('type') if isinstance(given,
                                                       Mapping) else given
                raise InputError(
                    f'the test pipeline of "{checkpoint}" cannot be exported, '
                    f'for its step {_name(name)} has no place in a graph; '
                    'there may be one Resize with keep_ratio=False and then '
                    'CenterCrop. Give a config with such a pipeline with '
                    '--config.')
        known = tuple(detector.input_size.tolist())
        if size is None:
            size = first = known
        if any(known) and known != size:
            raise InputError(
                f'the test pipeline of "{checkpoint}" makes images of '
                f'{size[1]}x{size[0]} pixels, but the model was fitted with '
                f'{known[1]}x{known[0]}; give the config of the fit.')
        (top, left), (height, width) = place, size
        return cls(first, resize,
                   (slice(top, top + height), slice(left, left + width)))


def _describe(step: mmcv.transforms.Resize) -> dict:
    if step.keep_ratio or step.scale is None:
        raise InputError(
            'the test pipeline resizes images by their own size (Resize with '
            'keep_ratio=True or a `scale_factor`), but those of a graph have '
            'one size; fit with Resize(scale=(W, H), keep_ratio=False).')
    width, height = step.scale
    return dict(
        height=height,
        width=width,
        keep_ratio=False,
        interpolation=step.interpolation,
        backend=step.backend)


def _crop(step: mmcv.transforms.CenterCrop, size: tuple[int, int],
          place: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    width, height = step.crop_size
    if height > size[0] or width > size[1]:
        raise InputError(
            f'the test pipeline crops {width}x{height} pixels from images of '
            f'{size[1]}x{size[0]}; give a config that crops less with '
            '--config.')
    return (height, width), (place[0] + round(
        (size[0] - height) / 2), place[1] + round((size[1] - width) / 2))


def _name(kind: object) -> str:
    return str(getattr(kind, '__name__', kind))
