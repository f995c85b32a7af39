import math
from collections.abc import Sequence

from mmad.errors import InputError

from .defect_census import DefectCensus
from .image_pixels import ImagePixels
from .named_images import NamedImages


class PixelCensus:
    """Counts of the images and masks from which metrics are computed.

    The memory does not depend on the number of images.
    """

    def __init__(self, resolution: str) -> None:
        self.images = 0
        self.cropped = 0
        self.regions = 0
        self.unmasked = NamedImages()
        # The smallest and the largest, by their area.
        self.shapes: list[tuple[int, int]] = []
        self.defects = DefectCensus('the model input' if resolution ==
                                    'input' else 'the original resolution')

    def add(self, image: ImagePixels) -> None:
        self.images += 1
        self.cropped += image.is_cropped
        self.regions += image.num_regions
        self._add_shapes([image.shape])
        if image.defect_type is not None and image.has_mask:
            self.defects.add(image.path, image.fault)
        elif image.defect_type is not None:
            self.unmasked.add(image.path)

    def merge(self, other: 'PixelCensus') -> None:
        self.images += other.images
        self.cropped += other.cropped
        self.regions += other.regions
        self.unmasked.merge(other.unmasked)
        self._add_shapes(other.shapes)
        self.defects.merge(other.defects)

    def check(self) -> None:
        if not self.images:
            raise InputError('there are no images to evaluate; check that the '
                             'test set is not empty.')
        masked = self.defects.masked
        if masked and self.unmasked.number:
            raise InputError(
                f'the defective image {self.unmasked.names[0]} has no mask, '
                f'while {masked} others have one; add the missing masks '
                f'({self.unmasked.number}) or remove the images.')

    @property
    def map_size(self) -> str:
        """Height and width of the maps, from the smallest to the largest."""
        sizes = [f'{height}x{width}' for height, width in self.shapes]
        return ' to '.join(sizes)

    def _add_shapes(self, shapes: Sequence[tuple[int, int]]) -> None:
        ordered = sorted({*self.shapes, *shapes},
                         key=lambda shape: (math.prod(shape), shape))
        self.shapes = [*ordered[:1], *ordered[1:][-1:]]
