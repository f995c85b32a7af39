"""Arrange the panels of a drawing, with captions, verdict and color bar."""
import cv2
import numpy as np

from mmad.structures import AnomalyDataSample

from .heat_scale import HeatScale
from .lettering import Lettering
from .verdict import describe

_PAPER = 255
_INK = (20, 20, 20)
_FAINT = (90, 90, 90)
_NARROWEST = 480


class Page:
    """A drawing in the making, white with black letters.

    Args:
        shape (tuple[int, int]): Height and width of a panel.
        is_row (bool): Whether panels are side by side.
        number (int): Number of panels.
    """

    def __init__(self, shape: tuple[int, int], is_row: bool,
                 number: int) -> None:
        height, width = shape
        columns = number if is_row else 1
        size = max(13, round(width * columns / 75))
        self._text = Lettering(size)
        self._strong = Lettering(round(1.3 * size), bold=True)
        self._gap = size // 2
        self._width = max(_NARROWEST,
                          (width + self._gap) * columns + self._gap)
        # Of a panel and the gap behind it, also where the header is wider.
        self._slot = (self._width - self._gap) // columns
        self.line = max(1, round((height * width)**0.5 / 250))
        self._shape = shape
        self._is_row = is_row
        self._panels: list[tuple[str, np.ndarray]] = []
        self._scale: HeatScale | None = None
        self._scale_left = 0

    def add_panel(self,
                  caption: str,
                  drawn: np.ndarray,
                  scale: HeatScale | None = None) -> None:
        """Add the next panel, with the color scale that it takes.

        Args:
            caption (str): Stands above it.
            drawn (np.ndarray): ``(H, W, 3)`` uint8 BGR.
            scale (HeatScale, optional): For the color bar. Defaults to None.
        """
        if scale is not None:
            self._scale = scale
            self._scale_left = self._gap + self._slot * (
                len(self._panels) if self._is_row else 0)
        self._panels.append((caption, drawn))

    def finish(self, sample: AnomalyDataSample) -> np.ndarray:
        """Return the whole drawing ``(H, W, 3)``, uint8 BGR."""
        line = round(1.4 * self._text.size)
        parts = [self._header(sample)]
        if self._is_row:
            parts.append(self._row(self._panels, line))
        else:
            parts += [self._row([panel], line) for panel in self._panels]
        parts.append(self._color_bar(line))
        return np.concatenate(parts)

    def _blank(self, height: int) -> np.ndarray:
        return np.full((height, self._width, 3), _PAPER, np.uint8)

    def _row(self, panels, line: int) -> np.ndarray:
        height, width = self._shape
        row = self._blank(line + height)
        for number, (caption, drawn) in enumerate(panels):
            left = self._gap + number * self._slot
            self._text.write(row, caption, (left, 0), _FAINT,
                             self._slot - self._gap)
            row[line:, left:left + width] = drawn
        return row

    def _header(self, sample: AnomalyDataSample) -> np.ndarray:
        """Draw two lines: the verdict, and the file with its numbers."""
        gap, big = self._gap, round(1.4 * self._strong.size)
        small = round(1.4 * self._text.size)
        header = self._blank(2 * gap + big + small)
        space = self._width - 2 * gap
        words = describe(sample)
        left = gap
        if words.word:
            # White on black stands out, also without colors.
            wide = self._strong.width(words.word) + 2 * gap
            is_bad = bool(sample.pred_label)
            box = header[gap:gap + big, left:left + wide]
            box[:] = _INK if is_bad else _PAPER
            cv2.rectangle(box, (0, 0), (box.shape[1] - 1, big - 1), _INK,
                          max(1, self._text.size // 8))
            self._strong.write(header, words.word, (left + gap, gap),
                               (255, 255, 255) if is_bad else _INK)
            left += wide + gap
        self._strong.write(header, words.outcome, (left, gap), _INK,
                           self._width - left - gap)
        top = round(1.5 * gap) + big
        numbers = self._text.fit(words.numbers, space)
        wide = self._text.width(numbers)
        self._text.write(header, numbers, (gap, top), _INK)
        left = 2 * gap + wide + gap
        self._text.write(header, words.file, (left, top), _FAINT,
                         max(0, self._width - left - gap))
        return header

    def _color_bar(self, line: int) -> np.ndarray:
        if self._scale is None:
            return self._blank(self._gap)
        gap, left = self._gap, self._scale_left
        width = min(
            max(self._shape[1], 16 * self._text.size),
            self._width - left - gap, 40 * self._text.size)
        footer = self._blank(2 * gap + 2 * line)
        footer[gap:gap + line,
               left:left + width] = self._scale.color_bar(width)
        tick = max(1, self._text.size // 10)
        for place, text in self._scale.ticks:
            at = left + round(place * (width - 1))
            footer[gap:gap + line + gap // 2,
                   max(left, at - tick // 2):at + tick - tick // 2] = 0
            wide = self._text.width(text)
            start = min(max(left, at - wide // 2), left + width - wide)
            self._text.write(footer, text,
                             (max(gap, start), 2 * gap + line - gap // 2),
                             _INK)
        return footer
