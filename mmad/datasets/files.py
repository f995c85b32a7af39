"""Finding images and their masks in folders."""
import os
from pathlib import Path

import numpy as np

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """Image files below a folder, sorted by path; empty if it is missing."""
    found, pending = [], [str(folder)]
    while pending:
        current = pending.pop()
        if not os.path.isdir(current):
            continue
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir():
                    if recursive:
                        pending.append(entry.path)
                elif entry.name.lower().endswith(
                        IMAGE_SUFFIXES) and not entry.name.startswith('.'):
                    found.append(entry.path)
    return [Path(path) for path in sorted(found)]


def index_masks(folder: str | Path) -> dict[str, Path]:
    """Mask files by the relative path of their image, without suffixes.

    ``scratch/000_mask.png`` and ``scratch/000.png`` both belong to the image
    ``scratch/000.*``.
    """
    masks = {}
    for path in list_images(folder, recursive=True):
        stem = path.relative_to(folder).with_suffix('').as_posix()
        masks[stem.removesuffix('_mask')] = path
    return masks


def draw(number: int, share: float, seed: int) -> set[int]:
    """A random share of ``range(number)``, but one of them at least."""
    order = np.random.default_rng(seed).permutation(number)
    number = max(1, min(number - 1, round(share * number)))
    return set(order[:number].tolist())
