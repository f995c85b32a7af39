import math
from collections.abc import Mapping
from dataclasses import dataclass

from .named_images import NamedImages


# Not a named tuple, since MMEngine converts gathered tuples to plain ones.
@dataclass(frozen=True, slots=True)
class ImageRegions:
    """What the pipeline has left of the defective regions of an image.

    Attributes:
        total (int): Regions of the mask file.
        outside (int): Of these, regions outside of the crop.
        lost (int): Regions in the crop of which no pixel is left.
        single (int): Regions of several pixels of which one is left.
        shape (tuple[int, int]): Height and width of the original image.
        resized (tuple[int, int]): Those after resizing.
    """

    total: int
    outside: int
    lost: int
    single: int
    shape: tuple[int, int]
    resized: tuple[int, int]

    @property
    def reduction(self) -> float:
        """How many pixels of the original image one pixel stands for."""
        return max(old / new for old, new in zip(self.shape, self.resized))


def regions_of(sample: Mapping) -> ImageRegions | None:
    """Return what is known of the regions of an image, if anything.

    Args:
        sample (Mapping): Sample with ``mask_regions``, ``ori_shape`` and
            ``resized_shape`` of
            :class:`~mmad.datasets.transforms.PackInputs`.
    """
    counts = sample.get('mask_regions')
    if counts is None:
        return None
    total, outside, lost, single = counts
    return ImageRegions(total, outside, lost, single,
                        tuple(sample['ori_shape']),
                        tuple(sample['resized_shape']))


class RegionCensus:
    """Count of the defective regions that the model does not see.

    A region is a connected component of a mask file. One that lies outside of
    the crop, or of which no pixel is left after resizing, cannot be found.
    """

    def __init__(self) -> None:
        self._images: dict[str, ImageRegions] = {}

    def add(self, path: str, regions: ImageRegions) -> None:
        """Count the regions of an image.

        Args:
            path (str): Path of the image.
            regions (ImageRegions): Its regions.
        """
        self._images[path] = regions

    @property
    def conditions(self) -> dict[str, int]:
        """Numbers of regions, if any are known."""
        if not self._images:
            return {}
        return dict(
            mask_regions=self._sum('total'),
            regions_outside=self._sum('outside'),
            regions_lost=self._sum('lost'),
            regions_of_one_pixel=self._sum('single'))

    def _sum(self, name: str) -> int:
        return sum(getattr(one, name) for one in self._images.values())

    def sentences(self) -> list[str]:
        """Describe the regions, in one sentence for each reason."""
        texts = []
        total, outside = self._sum('total'), self._sum('outside')
        if outside:
            paths = [path for path, one in self._images.items() if one.outside]
            texts.append(
                f'{outside} of {total} defective regions lie outside of the '
                f'crop that the model sees (crop less): {NamedImages(paths)}.')
        reduced = {
            path: one
            for path, one in self._images.items() if one.lost or one.single
        }
        if reduced:
            worst = max(reduced.values(), key=lambda one: one.reduction)
            texts.append(
                f'{self._sum("lost")} of {total} defective regions have no '
                f'pixel left at the model input, and {self._sum("single")} '
                f'have a single one, since images of {_size(worst.shape)} '
                f'pixels are reduced to {_size(worst.resized)}: what is '
                f'narrower than {math.ceil(2 * worst.reduction)} pixels can '
                'hardly be seen; use a larger Resize, or tiles (see '
                f'docs/high_resolution.md): {NamedImages(reduced)}.')
        return texts


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[1]}x{shape[0]}'
