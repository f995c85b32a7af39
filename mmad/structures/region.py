from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Region:
    """A connected part of an image that is above the pixel threshold.

    Args:
        x (int): Left edge, in pixels of the original image.
        y (int): Top edge.
        width (int): Width of the box.
        height (int): Height of the box.
        area (int): Number of pixels above the threshold.
        score (float): Largest value of the anomaly map in it.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    score: float

    def as_dict(self) -> dict:
        """Return the fields as a dict that JSON can store."""
        return asdict(self)
