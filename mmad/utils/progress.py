from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from mmengine.dist import is_main_process
from rich.progress import track

Item = TypeVar('Item')


def show_progress(items: Iterable[Item],
                  title: str,
                  total: int | None = None,
                  enable: bool = True) -> Iterator[Item]:
    """Iterate and show a bar in the first process.

    If the output is not a terminal, one line appears at the end.

    Args:
        items (Iterable): What to iterate over.
        title (str): Text before the bar.
        total (int, optional): Number of items. Defaults to None: their
            length, if they have one.
        enable (bool): Whether to show it at all. Defaults to True.

    Yields:
        The items.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    is_shown = enable and is_main_process()
    yield from track(items, title, total=total, disable=not is_shown)
