from collections import Counter
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import track

from mmad.datasets.output_folder import check_output_folder
from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.registry import DATASETS, HOOKS
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import scored_window
from mmad.utils import check_choice, check_number, printable
from mmad.utils.inner_datasets import inner_datasets
from mmad.utils.path_checks import check_folder
from mmad.utils.safe_path import safe_path
from mmad.visualization import AnomalyVisualizer


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Draw the heat maps of the test images after all of them are scored.

    All images share one color scale, from the median of the mean values of
    their anomaly maps to the 98th percentile of the maxima, over all
    processes. Images and maps are kept in memory until the scale is known,
    about 250 KB each at 224 pixels. The images that a sampler repeats to fill
    its last round are neither drawn nor counted, so the drawings do not
    depend on the number of processes.

    Args:
        enable (bool): Whether to draw. Defaults to False.
        out_dir (str, optional): Folder for the files
            ``DEFECT_TYPE/STEM.png``. If several images of a defect type have
            the same stem, the files are named
            ``DEFECT_TYPE/STEM_INDEX.png``, with the positions of the images
            in the data set. Defaults to None: ``visualization`` in the work
            directory.
        interval (int): Draw one image out of this many. Defaults to 1.
        max_images (int): Maximum number of images to draw. Defaults to 1000.
        frame (str): ``'input'`` draws the model input. ``'original'`` reads
            the file again and draws the original image, with its mask and
            with the map at its size; the part outside the crop is gray.
            Defaults to 'input'.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(self,
                 enable: bool = False,
                 out_dir: str | None = None,
                 interval: int = 1,
                 max_images: int = 1000,
                 frame: str = 'input') -> None:
        check_number('interval', interval, low=1, integer=True)
        check_number('max_images', max_images, low=1, integer=True)
        check_choice('frame', frame, ('input', 'original'))
        self.enable = enable
        self.out_dir = out_dir
        self.interval = interval
        self.max_images = max_images
        self.frame = frame

    def before_test(self, runner: Runner) -> None:
        """Check before the test that the drawings can be written.

        Raises:
            InputError: If the folder cannot be written to, or the drawings
                might replace images of the data set.
        """
        if self.enable:
            check_folder(self._folder(runner), 'the folder of heat maps')
            check_output_folder(self._folder(runner), _datasets(runner))

    def before_test_epoch(self, runner: Runner) -> None:
        self._waiting: list[tuple[int, AnomalyDataSample,
                                  np.ndarray | None]] = []
        self._means: list[float] = []
        self._maxima: list[float] = []
        self._seen = 0

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: list) -> None:
        if not self.enable:
            return
        rank, world_size = get_dist_info()
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            # The sampler gives the images to the processes in turn, and then
            # repeats some to fill the last round.
            position = rank + world_size * self._seen
            self._seen += 1
            if (world_size > 1
                    and position >= len(runner.test_dataloader.dataset)):
                continue
            scores = sample.pred_map[scored_window(
                sample, tuple(sample.pred_map.shape))]
            scores = scores[scores.isfinite()]
            if scores.numel():
                self._means.append(float(scores.mean()))
                self._maxima.append(float(scores.max()))
            turn, rest = divmod(position, self.interval)
            if rest == 0 and turn < self.max_images:
                self._keep(runner, position, image, sample)

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict | None = None) -> None:
        if not self.enable:
            return
        means, maxima = (
            np.concatenate(all_gather_object(values))
            for values in (self._means, self._maxima))
        value_range = ((float(np.median(means)),
                        float(np.percentile(maxima, 98))) if means.size else
                       (0.0, 1.0))
        names = _unique_names(
            chain.from_iterable(
                all_gather_object([(position, *_name(sample, position))
                                   for position, sample, _ in self._waiting])))
        folder = self._folder(runner)
        # The visualizers of other packages cannot draw anomaly maps.
        visualizer = (
            runner.visualizer if isinstance(
                runner.visualizer, AnomalyVisualizer) else AnomalyVisualizer())
        readers = (
            _readers(runner.test_dataloader.dataset)
            if self.frame == 'original' else {})
        for position, sample, image in track(
                self._waiting, 'Drawing heat maps',
                disable=not is_main_process()):
            if image is None:
                image, sample = _original(sample, readers)
            defect_type, stem = names[position]
            visualizer.add_datasample(
                stem,
                image,
                sample,
                value_range=value_range,
                out_file=safe_path(folder, defect_type, f'{stem}.png'),
                frame=self.frame)
        self._waiting = []

    def after_test(self, runner: Runner) -> None:
        """Log the folder of the heat maps, below the metrics."""
        if self.enable:
            runner.logger.info(printable(f'Heat maps: {self._folder(runner)}'))

    def _folder(self, runner: Runner) -> Path:
        return Path(self.out_dir or Path(runner.work_dir) / 'visualization')

    def _keep(self, runner: Runner, position: int, image,
              sample: AnomalyDataSample) -> None:
        # Fail here rather than at the end of a long test.
        defect_type, stem, _ = _name(sample, position)
        safe_path(self._folder(runner), defect_type, f'{stem}.png')
        if self.frame == 'original':
            path = sample.get('img_path')
            if path is None or not Path(path).is_file():
                raise InputError(
                    f'the original image "{path}" is not a file and cannot be '
                    "drawn; set frame='input' of the VisualizationHook.")
            if not self._waiting:
                sample.original_map()
            image = None
        else:
            image = np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy())
        self._waiting.append((position, sample.cpu(), image))


def _datasets(runner: Runner) -> list[BaseDataset]:
    """Return the test set, and the training set if its files exist."""
    datasets = [runner.test_dataloader.dataset]
    loader = (runner.cfg.get('train_dataloader') or {}).get('dataset')
    if loader:
        with suppress(InputError):
            datasets.append(DATASETS.build(loader))
    return datasets


def _original(
    sample: AnomalyDataSample, readers: dict[str | None, list[BaseTransform]]
) -> tuple[np.ndarray, AnomalyDataSample]:
    """Read the original image, BGR, and add its mask to the sample."""
    results = dict(
        img_path=sample.img_path,
        mask_path=sample.get('mask_path'),
        gt_label=int(sample.get('gt_label', 0)))
    for step in readers.get(sample.img_path) or readers[None]:
        results = step(results)
    if 'gt_seg_map' in results:
        sample.gt_mask = results['gt_seg_map'] > 0
    return results['img'], sample


def _readers(dataset: BaseDataset) -> dict[str | None, list[BaseTransform]]:
    """Find the pipeline steps that read the files of each image, by its path.

    The key None has the steps for images whose data set is not known.
    """
    datasets = inner_datasets(dataset)
    readers: dict[str | None, list[BaseTransform]] = {}
    for inner in datasets:
        pipeline = getattr(inner, 'pipeline', None)
        steps = [
            step for step in getattr(pipeline, 'transforms', [])
            if isinstance(step, LoadImageFromFile | LoadMask)
        ] or [LoadImage(), LoadMask()]
        readers.setdefault(None, steps)
        # With a single data set, the default steps serve all images.
        if len(datasets) > 1 and hasattr(inner, 'get_data_info'):
            for number in range(len(inner)):
                readers[inner.get_data_info(number).get('img_path')] = steps
    return readers


def _name(sample: AnomalyDataSample, position: int) -> tuple[str, str, int]:
    """Return the defect type of an image, the stem of its file, its index."""
    index = sample.get('sample_idx', position)
    defect_type = sample.get('defect_type')
    path = sample.get('img_path')
    return ('unknown' if defect_type is None else str(defect_type),
            f'image_{index}' if path is None else Path(path).stem, index)


def _unique_names(entries) -> dict[int, tuple[str, str]]:
    """Map each position to its defect type and to a stem that is unique."""
    entries = sorted(entries)
    counts = Counter(
        (defect_type, stem) for _, defect_type, stem, _ in entries)
    # Indices may repeat between the data sets of a ConcatDataset.
    indices = Counter(tuple(name) for _, *name in entries)
    taken = {name for name, count in counts.items() if count == 1}
    names = {}
    for position, defect_type, stem, index in entries:
        if counts[defect_type, stem] > 1:
            if indices[defect_type, stem, index] > 1:
                index = position
            stem += f'_{index}'
            while (defect_type, stem) in taken:
                stem += '_'
            taken.add((defect_type, stem))
        names[position] = defect_type, stem
    return names
