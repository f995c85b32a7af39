import base64
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmad.errors import InputError
from mmad.evaluation.example import Example
from mmad.utils.image_file import bits_per_channel, open_image, read_pixels
from mmad.utils.mask_file import read_mask

from ..heat_scale import HeatScale
from ..outline import draw_outline

_UNSCORED = 128


class Pictures:
    """Small pictures as text for a page, each once.

    Args:
        side (int): Length of the longer side in pixels.

    Attributes:
        addresses (list[str]): The pictures as ``data:`` addresses.
        faults (dict[str, str]): Why a file could not be shown, by its path.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.addresses: list[str] = []
        self.faults: dict[str, str] = {}
        self._images: dict[str, tuple[int, np.ndarray] | None] = {}
        self._masks: dict[str, int | None] = {}

    def add_image(self, path: Path) -> int | None:
        """Add an image file; its position in ``addresses``."""
        found = self._image(path)
        return None if found is None else found[0]

    def add_mask(self, path: Path) -> int | None:
        """Add a mask file, white where there is a defect."""
        key = str(path)
        if key not in self._masks:
            self._masks[key] = None
            try:
                mask = read_mask(path).astype(np.float32)
                size = self._size(*mask.shape[::-1])
                # Whatever covers a part of a pixel stays visible.
                small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
                picture = Image.fromarray(small > 0)
                self._masks[key] = self._add(picture, 'PNG', optimize=True)
            except InputError as error:
                self.faults[key] = str(error)
        return self._masks[key]

    def add_heat(self, example: Example, path: Path,
                 scale: HeatScale) -> int | None:
        """Draw an anomaly map over its image, if both have one frame."""
        scores = example.scores()
        if not scores.size:
            return None
        found = self._image(path) if example.is_original else None
        if found is None:
            canvas = np.full((*scores.shape, 3), _UNSCORED, np.uint8)
            canvas = cv2.resize(canvas, self._size(*scores.shape[::-1]))
        else:
            canvas = found[1]
        heat = _draw(canvas, scores, scale)
        # Full colors, for thin outlines.
        return self._add(
            Image.fromarray(heat), 'JPEG', quality=82, subsampling=0)

    def _image(self, path: Path) -> tuple[int, np.ndarray] | None:
        key = str(path)
        if key not in self._images:
            self._images[key] = None
            try:
                picture = _read(path, self.side)
                picture = picture.resize(
                    self._size(*picture.size),
                    Image.Resampling.BOX,
                    reducing_gap=2)
                place = self._add(picture, 'JPEG', quality=82)
                self._images[key] = place, np.asarray(picture)
            except InputError as error:
                self.faults[key] = str(error)
        return self._images[key]

    def _size(self, width: int, height: int) -> tuple[int, int]:
        scale = self.side / max(width, height)
        return max(1, round(scale * width)), max(1, round(scale * height))

    def _add(self, picture: Image.Image, form: str, **options) -> int:
        content = BytesIO()
        picture.save(content, form, **options)
        text = base64.b64encode(content.getvalue()).decode()
        self.addresses.append(f'data:image/{form.lower()};base64,{text}')
        return len(self.addresses) - 1


def _read(path: Path, side: int) -> Image.Image:
    with open_image(path) as image:
        if bits_per_channel(image) > 8:
            pixels = read_pixels(image, path)
            pixels = pixels[..., :3] if pixels.ndim == 3 else pixels
            top = max(1, int(pixels.max()))
            scaled = (pixels.clip(0) * (255.0 / top)).astype(np.uint8)
            return Image.fromarray(scaled).convert('RGB')
        image.draft('RGB', (2 * side, 2 * side))
        upright = ImageOps.exif_transpose(image)
        if isinstance(upright.info.get('transparency'), bytes):
            upright = upright.convert('RGBA')
        return upright.convert('RGB')


def _draw(canvas: np.ndarray, scores: np.ndarray,
          scale: HeatScale) -> np.ndarray:
    """Draw a map of any size over an RGB image."""
    size = canvas.shape[1::-1]
    unscored = cv2.resize(
        np.isnan(scores).astype(np.uint8),
        size,
        interpolation=cv2.INTER_NEAREST) > 0
    low = np.nanmin(scores) if np.isfinite(scores).any() else scale.low
    scores = cv2.resize(np.where(np.isnan(scores), low, scores), size)
    scores[unscored] = np.nan
    drawn = scale.overlay(np.ascontiguousarray(canvas[..., ::-1]), scores)
    if scale.threshold is not None:
        draw_outline(drawn, scores > scale.threshold)
    return drawn[..., ::-1]
