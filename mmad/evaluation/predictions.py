import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mmad.errors import InputError
from mmad.utils import write_atomically

from .example import Example
from .functional import Ranking

# Raised if the file changes its form, so that an older one can be refused.
_FORM = 1
_BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, IndexError,
           zipfile.BadZipFile, zlib.error)


@dataclass
class Predictions:
    """What a model said about each image of a test set.

    The images are in the order of the data set.

    Attributes:
        paths (list[str]): Files of the images.
        scores (np.ndarray): ``(N,)`` float32, higher is more anomalous.
        kinds (np.ndarray): ``(N,)`` int32: 0 for normal images, and from 1 on
            the position in ``defect_types``.
        defect_types (list[str]): Names of the defect types.
        p_values (np.ndarray, optional): ``(N,)`` float32, if the model was
            calibrated.
        examples (list[Example]): Anomaly maps of some images.
        pixel_ranking (Ranking, optional): Ranked pixels of all images.
        about (dict): How the predictions came about, as plain values:
            ``image_threshold``, ``pixel_threshold``, ``false_alarm_rate`` and
            ``calibration_scores``, if the model was calibrated; ``split``,
            ``method``, ``config`` and ``data``, if known; and
            ``is_saturated``, if the overlap of the ranked pixels is.
    """

    paths: list[str]
    scores: np.ndarray
    kinds: np.ndarray
    defect_types: list[str] = field(default_factory=list)
    p_values: np.ndarray | None = None
    examples: Sequence[Example] = ()
    pixel_ranking: Ranking | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def is_defective(self) -> np.ndarray:
        """Which images are defective, ``(N,)`` bool."""
        return self.kinds > 0

    def save(self, path: str | Path) -> None:
        """Write a compressed file of NumPy, as a whole.

        Raises:
            InputError: If it cannot be written.
        """
        maps = [example.map for example in self.examples]
        text = dict(
            form=_FORM,
            paths=self.paths,
            defect_types=self.defect_types,
            masks=[example.mask_path for example in self.examples],
            about=self.about)
        arrays: dict[str, Any] = dict(
            text=np.frombuffer(json.dumps(text).encode(), np.uint8),
            scores=self.scores,
            kinds=self.kinds,
            example_positions=np.array([e.position for e in self.examples],
                                       np.int64),
            example_frames=np.array([e.is_original for e in self.examples],
                                    bool),
            map_ranges=np.array([e.range for e in self.examples],
                                np.float32).reshape(-1, 2),
            map_shapes=np.array([one.shape for one in maps],
                                np.int64).reshape(-1, 2),
            map_pixels=np.concatenate([
                np.zeros(0, np.uint8),
                *(one.ravel() for one in maps),
            ]))
        if self.p_values is not None:
            arrays['p_values'] = self.p_values
        if self.pixel_ranking is not None:
            for name, values in self.pixel_ranking._asdict().items():
                arrays[f'pixel_{name}'] = np.asarray(values)
        content = BytesIO()
        np.savez_compressed(content, **arrays)
        write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> 'Predictions':
        """Read a file that :meth:`save` has written.

        Raises:
            InputError: If it is not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls._from_arrays(dict(arrays))
        except _BROKEN as error:
            raise InputError(
                f'"{path}" cannot be read ({type(error).__name__}: it is '
                'damaged or from another version of mmad); run tools/test.py '
                'once more.') from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, np.ndarray]) -> 'Predictions':
        text = json.loads(arrays['text'].tobytes())
        if text['form'] != _FORM:
            raise ValueError(text['form'])
        sizes = arrays['map_shapes'].prod(1)
        maps = np.split(arrays['map_pixels'], np.cumsum(sizes)[:-1])
        examples = [
            Example(
                int(position), mask, pixels.reshape(shape),
                (float(limits[0]), float(limits[1])), bool(is_original))
            for position, mask, pixels, shape, limits, is_original in zip(
                arrays['example_positions'], text['masks'], maps,
                arrays['map_shapes'], arrays['map_ranges'],
                arrays['example_frames'])
        ]
        ranking = None
        if 'pixel_thresholds' in arrays:
            parts: dict[str, Any] = {
                name: arrays[f'pixel_{name}']
                for name in Ranking._fields
            }
            parts['num_regions'] = int(parts['num_regions'])
            ranking = Ranking(**parts)
        found = cls(text['paths'], arrays['scores'],
                    arrays['kinds'], text['defect_types'],
                    arrays.get('p_values'), examples, ranking, text['about'])
        if not (found.scores.shape == found.kinds.shape ==
                (len(found.paths), )):
            raise ValueError('lengths')
        return found
