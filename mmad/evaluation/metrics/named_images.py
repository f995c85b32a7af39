from collections.abc import Iterable

_SHOWN = 3


class NamedImages:
    """Number of images, of which the first few in the alphabet are named.

    The memory does not depend on the number, nor the result on the order.

    Args:
        paths (Iterable[str]): Paths of images. Defaults to none.

    Attributes:
        number (int): Number of images.
        names (list[str]): Paths of the first ones, sorted, at most 3.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.number = 0
        self.names: list[str] = []
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """Count an image."""
        self.number += 1
        self.names = sorted([*self.names, path])[:_SHOWN]

    def merge(self, other: 'NamedImages') -> None:
        """Add the images of another process."""
        self.number += other.number
        self.names = sorted(self.names + other.names)[:_SHOWN]

    def __str__(self) -> str:
        more = self.number - len(self.names)
        return ', '.join(self.names) + (f' and {more} more' if more else '')
