"""Check that drawings cannot replace the images of a data set."""
import os
from collections.abc import Iterable
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmad.errors import InputError


def check_output_folder(folder: str | Path,
                        datasets: Iterable[BaseDataset]) -> None:
    """Refuse an output folder in which drawings might replace data.

    Args:
        folder (str | Path): Folder for the files ``DEFECT_TYPE/STEM.png``.
        datasets (Iterable[BaseDataset]): Data sets of image files, or
            wrappers of MMEngine around them. Other objects are ignored.

    Raises:
        InputError: If the folder is inside a folder of images or masks, or
            the folder of a defect type would be such a folder.
    """
    parents, defect_types = set(), {''}
    for dataset in datasets:
        if not hasattr(dataset, 'get_data_info'):
            continue
        for number in range(len(dataset)):
            info = dataset.get_data_info(number)
            defect_types.add(str(info.get('defect_type') or ''))
            for key in ('img_path', 'mask_path'):
                if info.get(key):
                    parents.add(os.path.dirname(info[key]))
    home = Path(os.path.realpath(folder))
    places = {home, *home.parents} | {
        Path(os.path.realpath(home / name))
        for name in defect_types
    }
    for parent in sorted(parents):
        if Path(os.path.realpath(parent)) in places:
            raise InputError(
                f'the drawings would go to "{folder}" and might replace '
                f'images or masks of the data in "{parent}"; choose another '
                'folder.')
