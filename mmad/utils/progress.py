from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from mmengine.dist import is_main_process
from rich import get_console
from rich.progress import track

Item = TypeVar('Item')


def show_progress(items: Iterable[Item],
                  title: str,
                  total: int | None = None,
                  enable: bool = True) -> Iterator[Item]:
    """Iterate and show a bar, on the first process and on a terminal only.

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
    is_shown = enable and is_main_process() and get_console().is_terminal
    yield from track(items, title, total=total, disable=not is_shown)
