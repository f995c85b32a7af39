import os
from collections.abc import Mapping, Sequence
from inspect import isclass
from typing import Any

import numpy as np
import torchvision
from filelock import FileLock
from PIL import Image

from mmad.errors import InputError
from mmad.registry import DATASETS

from .natural_images import NaturalImages


@DATASETS.register_module()
class TorchvisionImages(NaturalImages):
    """Images of a data set of torchvision, to train a teacher.

    The annotation contains the pixels, under the keys ``img``, ``img_shape``
    and ``ori_shape``, so the pipeline must not contain
    :class:`~mmad.datasets.transforms.LoadImage`. Labels are not used.

    Args:
        name (str): Class in :mod:`torchvision.datasets` that has a root as
            its first argument and yields tuples that start with an image,
            such as ``'CIFAR10'`` or ``'Places365'``.
        data_root (str): Root folder for the class.
        options (dict, optional): Further arguments of the class, such as
            ``dict(split='train-standard', download=True)``. Defaults to None.
        length (int): Number of samples per epoch. Defaults to 64000.
        forbidden_roots (Sequence[str]): Folders of anomaly data.
        pipeline (Sequence[dict]): Configs of the transforms.
        lazy_init (bool): Open the data set on first use. Defaults to False.
        indices, metainfo, serialize_data, max_refetch: See
            :class:`~mmad.datasets.NaturalImages`.

    Raises:
        InputError: If the name is unknown, files are missing or broken, there
            are no images, the images are anomaly data, or the options are not
            arguments of the class.
    """

    def __init__(self,
                 name: str,
                 data_root: str,
                 options: dict | None = None,
                 length: int = 64000,
                 forbidden_roots: Sequence[str] = (),
                 pipeline: Sequence = (),
                 lazy_init: bool = False,
                 indices: int | Sequence[int] | None = None,
                 metainfo: Mapping | None = None,
                 serialize_data: bool = True,
                 max_refetch: int = 1000) -> None:
        if not isclass(getattr(torchvision.datasets, str(name), None)):
            raise InputError(f'torchvision has no data set "{name}"; it has '
                             f'{", ".join(torchvision.datasets.__all__)}.')
        if not isinstance(options, dict | None):
            raise InputError('`options` of the data set must be a dict of '
                             f'arguments of {name}, got {options!r}.')
        self.name = name
        self.options = dict(options or {})
        super().__init__(data_root, length, forbidden_roots, pipeline,
                         lazy_init, indices, metainfo, serialize_data,
                         max_refetch)

    def load_data_list(self) -> list[dict]:
        self.refuse_anomaly_data()
        try:
            self._images = self._open()
            number = len(self._images)
        except TypeError as error:
            raise InputError(
                f'the `options` of the data set do not suit {self.name} of '
                f'torchvision: {error}.') from error
        # torchvision raises any of these for a broken file.
        except (RuntimeError, OSError, ValueError, EOFError, KeyError,
                AssertionError, ImportError) as error:
            raise InputError(
                f'{self.name} cannot be read from "{self.folder}" '
                f'({type(error).__name__}: {error}); name its folder with '
                '--data-root, correct the `options` of the data set, or let '
                'torchvision download it with `download=True` in '
                'them.') from error
        if not number:
            raise InputError(f'{self.name} in "{self.folder}" is empty; name '
                             'another folder with --data-root.')
        return [
            dict(img_path=f'{self.name}/{index}', number=index)
            for index in range(number)
        ]

    def _open(self) -> Any:
        make = getattr(torchvision.datasets, self.name)
        options = dict(self.options)
        if not options.get('download'):
            return make(str(self.folder), **options)
        os.makedirs(self.folder, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            del options['download']
            return make(str(self.folder), **options)
        # The first of several processes downloads the files.
        with FileLock(self.folder / f'.{self.name}.lock'):
            return make(str(self.folder), **options)

    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of a sample, with the pixels of its image."""
        info = super().get_data_info(idx)
        try:
            image = self._images[info.pop('number')][0]
            if not isinstance(image, Image.Image):
                raise InputError(
                    f'{self.name} of torchvision yields a '
                    f'{type(image).__name__} where an image was expected; '
                    'take another data set, or other `options`.')
            image = image.convert('RGB')
        # Pillow raises these for a broken image.
        except (OSError, SyntaxError) as error:
            raise InputError(
                f'the image "{info["img_path"]}" in "{self.folder}" cannot '
                f'be read ({error}); replace it.') from error
        image = np.asarray(image)[..., ::-1]
        info['img'] = np.ascontiguousarray(image)
        info['img_shape'] = info['ori_shape'] = image.shape[:2]
        return info
