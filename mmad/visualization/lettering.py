"""Write text of any script into images."""
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from mmad.errors import printable

Color = tuple[int, int, int]

# Families for scripts that DejaVu lacks, as systems bring them.
_FAMILIES = ('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Source Han Sans SC',
             'WenQuanYi Micro Hei', 'WenQuanYi Zen Hei', 'Microsoft YaHei',
             'SimHei', 'PingFang SC', 'Hiragino Sans GB', 'Malgun Gothic',
             'Arial Unicode MS', 'Droid Sans Fallback')
_ELLIPSIS = '…'


class Lettering:
    """Text of one size, measured and drawn in pixels.

    Letters are those of DejaVu Sans, which comes with matplotlib. A text that
    it cannot write, such as a Chinese file name, takes a font of the system
    if there is one, and boxes otherwise.

    Args:
        size (int): Height of the letters, in pixels.
        bold (bool): Defaults to False.
    """

    def __init__(self, size: int, bold: bool = False) -> None:
        self.size = size
        self.bold = bold

    def width(self, text: str) -> int:
        """Return how wide a text is, in pixels."""
        return int(np.ceil(self._font(text).getlength(printable(text))))

    def fit(self, text: str, width: int) -> str:
        """Shorten a text in its middle until it is so wide at most."""
        text = printable(text)
        if self.width(text) <= width:
            return text
        few, many = 0, len(text)
        while many - few > 1:
            middle = (few + many) // 2
            if self.width(_shorten(text, middle)) <= width:
                few = middle
            else:
                many = middle
        return _shorten(text, few) if few else ''

    def write(self,
              canvas: np.ndarray,
              text: str,
              place: tuple[int, int],
              color: Color = (0, 0, 0),
              width: int | None = None) -> int:
        """Write one line into an image, in place.

        Args:
            canvas (np.ndarray): ``(H, W, 3)`` uint8.
            text (str): Shortened if it does not fit.
            place (tuple[int, int]): Left and top of the line, whose height is
                1.4 times the size.
            color (tuple[int, int, int]): In the order of the canvas. Defaults
                to black.
            width (int, optional): Space in pixels. Defaults to None: up to
                the right end.

        Returns:
            int: How wide the text is, in pixels.
        """
        left, top = place
        space = canvas.shape[1] - left
        text = self.fit(text, space if width is None else min(width, space))
        wide = self.width(text)
        line = canvas[top:top + round(1.4 * self.size), left:left + wide]
        if line.size:
            image = Image.fromarray(line)
            ImageDraw.Draw(image).text((0, round(1.08 * self.size)),
                                       text,
                                       color,
                                       self._font(text),
                                       anchor='ls')
            line[:] = np.asarray(image)
        return wide

    def _font(self, text: str) -> ImageFont.FreeTypeFont:
        path = _dejavu(self.bold)
        if not text.isascii() and any(
                ord(letter) not in _letters() for letter in printable(text)):
            path = _system_font() or path
        return _load(path, self.size)


def _shorten(text: str, number: int) -> str:
    """Keep so many letters of both ends, more of the last ones."""
    if number >= len(text):
        return text
    first = number // 2
    return text[:first] + _ELLIPSIS + text[len(text) - number + first:]


def _dejavu(bold: bool) -> str:
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return str(Path(matplotlib.get_data_path(), 'fonts/ttf', name))


@lru_cache(maxsize=32)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(_dejavu(False)).get_charmap())


@lru_cache(maxsize=1)
def _system_font() -> str | None:
    known = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
    }
    return next((known[name] for name in _FAMILIES if name in known), None)
