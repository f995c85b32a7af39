from mmad.errors import InputError

from .defect_census import DefectCensus
from .image_pixels import ImagePixels


class PixelCensus:
    """Counts of the images and masks from which metrics are computed."""

    def __init__(self, resolution: str) -> None:
        self.images = 0
        self.cropped = 0
        self.regions = 0
        self.unmasked: set[str] = set()
        self.shapes: set[tuple[int, int]] = set()
        self.defects = DefectCensus('the model input' if resolution ==
                                    'input' else 'the original resolution')

    def add(self, image: ImagePixels) -> None:
        self.images += 1
        self.cropped += image.is_cropped
        self.regions += image.num_regions
        self.shapes.add(image.shape)
        if image.defect_type is not None and image.has_mask:
            self.defects.add(image.path, image.fault)
        elif image.defect_type is not None:
            self.unmasked.add(image.path)

    def merge(self, other: 'PixelCensus') -> None:
        self.images += other.images
        self.cropped += other.cropped
        self.regions += other.regions
        self.unmasked |= other.unmasked
        self.shapes |= other.shapes
        self.defects.merge(other.defects)

    def check(self) -> None:
        if not self.images:
            raise InputError('there are no images to evaluate; check that the '
                             'test set is not empty.')
        masked = self.defects.masked
        if masked and self.unmasked:
            raise InputError(
                f'the defective image {min(self.unmasked)} has no mask, while '
                f'{masked} others have one; add the missing masks '
                f'({len(self.unmasked)}) or remove the images.')
