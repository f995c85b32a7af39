"""Names and original files of images to draw."""
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import require_place
from mmad.utils.inner_datasets import inner_datasets
from mmad.utils.unique_names import UniqueNames

Entry = tuple[int, str, str]
Readers = dict[str | None, list[BaseTransform]]


@dataclass
class Picture:
    """An image that is to be drawn, or the file of its drawing.

    Attributes:
        entry (tuple): See :func:`name_of`.
        sample (AnomalyDataSample): Its prediction; empty if it was drawn.
        image (np.ndarray, optional): Model input ``(H, W, 3)`` uint8 BGR.
            None if it was drawn, or the original image is read for that.
        file (Path, optional): Of the drawing.
    """
    entry: Entry
    sample: AnomalyDataSample
    image: np.ndarray | None
    file: Path | None = None


def has_scale(sample: AnomalyDataSample) -> bool:
    """Whether the scale of the colors follows from the threshold."""
    return (sample.get('pixel_threshold') or 0) > 0


def require_original(sample: AnomalyDataSample) -> None:
    """Raise :class:`InputError` unless the original image can be drawn."""
    path = sample.get('img_path')
    if path is None or not Path(path).is_file():
        raise InputError(
            f'the original image "{path}" is not a file and cannot be drawn; '
            "set frame='input' of the VisualizationHook.")
    require_place(sample, "set frame='input' of the VisualizationHook")
    if sample.get('ori_shape') is None:
        raise InputError('the original size of the image is not known; let '
                         'the pipeline pack `ori_shape`.')


def read_original(sample: AnomalyDataSample, readers: Readers) -> np.ndarray:
    """Read the original image, BGR, and add its mask to the sample.

    Args:
        sample (AnomalyDataSample): Sample with ``img_path`` and, if there is
            one, ``mask_path``.
        readers (dict): See :func:`find_readers`.

    Returns:
        np.ndarray: ``(H, W, 3)`` uint8 BGR.
    """
    results = dict(
        img_path=sample.img_path,
        mask_path=sample.get('mask_path'),
        gt_label=int(sample.get('gt_label', 0)))
    for step in readers.get(sample.img_path) or readers[None]:
        results = step(results)
    if 'gt_seg_map' in results:
        sample.gt_mask = results['gt_seg_map'] > 0
    return results['img']


def find_readers(dataset: BaseDataset) -> Readers:
    """Find the pipeline steps that read the files of each image, by its path.

    The key None has the steps for images whose data set is not known.
    """
    datasets = inner_datasets(dataset)
    readers: Readers = {None: [LoadImage(), LoadMask()]}
    for number, inner in enumerate(datasets):
        pipeline = getattr(inner, 'pipeline', None)
        steps = [
            step for step in getattr(pipeline, 'transforms', [])
            if isinstance(step, LoadImageFromFile | LoadMask)
        ] or readers[None]
        if number == 0:
            readers[None] = steps
        # With a single data set, the default steps serve all images.
        if len(datasets) > 1 and hasattr(inner, 'get_data_info'):
            for index in range(len(inner)):
                readers[inner.get_data_info(index).get('img_path')] = steps
    return readers


def name_of(sample: AnomalyDataSample, position: int) -> Entry:
    """Return position, defect type and stem of the file of an image.

    Args:
        sample (AnomalyDataSample): Its sample.
        position (int): Its position in the test set.
    """
    defect_type = sample.get('defect_type')
    path = sample.get('img_path')
    stem = (f'image_{sample.get("sample_idx", position)}'
            if path is None else Path(path).stem)
    return (position, 'unknown' if defect_type is None else str(defect_type),
            stem)


def name_files(entries: Iterable[Entry]) -> dict[int, Path]:
    """Map each position to a relative path, without suffix, of its own."""
    name = UniqueNames()
    return {
        position: name(*Path(defect_type, stem).parts)
        for position, defect_type, stem in sorted(entries)
    }
