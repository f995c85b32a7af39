from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, fsdecode
from re import sub

import cv2
import numpy as np

from mmad.errors import InputError

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg',
                  '.webm', '.wmv')
# The length in the header of a video is an estimate.
_ENOUGH = 0.95


@dataclass(frozen=True)
class Frame:
    """One image of a video.

    Args:
        image (np.ndarray): ``(H, W, 3)`` uint8, BGR.
        source (str): Name of the video.
        index (int): Position, from 0.
    """

    image: np.ndarray
    source: str
    index: int


class Video:
    """The frames of a video file, a camera or a stream of the network.

    They are read with OpenCV, one at a time, when they are taken.

    Args:
        source (int | str | PathLike): Index of a camera, address such as
            ``'rtsp://host/path'``, or path of a file.

    Raises:
        InputError: From :meth:`open`, if it cannot be opened; while frames
            are taken, if there are none, if a camera gives no more, or if a
            file ends long before its length.
    """

    def __init__(self, source: int | str | PathLike) -> None:
        self.source = source if isinstance(source, int) else fsdecode(source)
        if isinstance(self.source, int):
            self.is_file, self.name = False, f'camera {source}'
        else:
            self.is_file = '://' not in self.source
            # Without the password of a camera in the network.
            self.name = sub('//[^/@]*@', '//', self.source)
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> 'Video':
        """Open it now rather than when the first frame is taken."""
        capture = cv2.VideoCapture(self.source)
        if not capture.isOpened():
            capture.release()
            what = (
                'it is missing, damaged or in a format that OpenCV does not '
                'know' if self.is_file else
                'nothing answers, or another program is using it')
            raise InputError(f'the video "{self.name}" cannot be opened: '
                             f'{what}; check it.')
        self._capture = capture
        return self

    def __iter__(self) -> Iterator[Frame]:
        if self._capture is None:
            self.open()
        capture, self._capture = self._capture, None
        assert capture is not None
        index = 0
        try:
            length = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            while True:
                found, image = capture.read()
                if not found or image is None:
                    break
                yield Frame(_to_bgr(image), self.name, index)
                index += 1
        finally:
            capture.release()
        self._check_end(index, length)

    def _check_end(self, taken: int, length: float) -> None:
        if not self.is_file:
            raise InputError(
                f'the video "{self.name}" gave no more images after {taken}; '
                'check its connection and start again.')
        if not taken or taken < _ENOUGH * length - 1:
            raise InputError(
                f'the video "{self.name}" ended after {taken} frames'
                f'{f" of {length:.0f}" if length > 0 else ""}; it is '
                'truncated or damaged: replace it.')


def _to_bgr(image: np.ndarray) -> np.ndarray:
    # Some cameras give gray images.
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image
