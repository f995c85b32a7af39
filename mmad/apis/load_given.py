from collections.abc import Callable

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile

from mmad.errors import InputError, summarize_error


class LoadGiven(BaseTransform):
    """The step of a pipeline that loads images, for files and for arrays.

    It takes the place of the step that loads files. An array that was given
    is converted as if it had been read from a file by that step.

    Required Keys:

    - img_path (str), or given (np.ndarray): ``(H, W, 3)`` uint8, BGR.
    - originals (list, optional): To which the image is appended, for
      drawings.

    Added Keys: those of the loading step.

    Args:
        loader (Callable): The step that loads files.

    Raises:
        InputError: If the file cannot be read.
    """

    def __init__(self, loader: Callable[[dict], dict]) -> None:
        self.loader = loader

    def transform(self, results: dict) -> dict:
        given = results.pop('given', None)
        originals = results.pop('originals', None)
        if given is None:
            results = self._read(results)
        else:
            results['img'] = self._convert(given)
            results['img_shape'] = results['ori_shape'] = given.shape[:2]
        if originals is not None:
            # A copy, since later steps may write to it.
            originals.append(np.array(results['img']))
        return results

    def _read(self, results: dict) -> dict:
        try:
            found = self.loader(results)
        except InputError:
            raise
        # Each decoder has its own errors; MMCV adds an AssertionError.
        except Exception as error:
            raise InputError(
                f'image "{results.get("img_path")}" cannot be read '
                f'({summarize_error(error)}); replace or remove '
                'it.') from error
        if found is None or found.get('img') is None:
            raise InputError(f'image "{results.get("img_path")}" cannot be '
                             f'read by {type(self.loader).__name__}; replace '
                             'or remove it.')
        return found

    def _convert(self, given: np.ndarray) -> np.ndarray:
        if not isinstance(self.loader, LoadImageFromFile):
            return given
        if self.loader.color_type not in ('color', 'color_ignore_orientation'):
            # As the decoder converts it: to gray, for example.
            given = mmcv.imfrombytes(
                cv2.imencode('.png', given)[1].tobytes(),
                flag=self.loader.color_type,
                backend=self.loader.imdecode_backend)
        return given.astype(np.float32) if self.loader.to_float32 else given
