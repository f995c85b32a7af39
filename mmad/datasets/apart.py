"""Drawings kept apart from the data that they are drawn from."""
import os
from collections.abc import Iterable
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmad.errors import InputError


def check_apart(folder: str | Path, datasets: Iterable[BaseDataset]) -> None:
    """Refuse a folder for drawings in which they might replace data.

    Args:
        folder (str | Path): Place for files ``KIND/STEM.png``.
        datasets (Iterable[BaseDataset]): Of files; others pass.

    Raises:
        InputError: It lies in a folder of images or masks, or the one of a
            defect type would be such a folder.
    """
    parents, kinds = set(), {''}
    for dataset in datasets:
        if not hasattr(dataset, 'get_data_info'):
            continue
        for number in range(len(dataset)):
            info = dataset.get_data_info(number)
            kinds.add(str(info.get('kind') or ''))
            for key in ('img_path', 'mask_path'):
                if info.get(key):
                    parents.add(os.path.dirname(info[key]))
    home = Path(os.path.realpath(folder))
    places = {home, *home.parents} | {
        Path(os.path.realpath(home / kind)) for kind in kinds}
    for parent in sorted(parents):
        if Path(os.path.realpath(parent)) in places:
            raise InputError(
                f'the drawings would go to "{folder}" and might replace '
                f'images or masks of the data in "{parent}"; choose another '
                'folder.')
