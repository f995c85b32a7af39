import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.visualization import LocalVisBackend
from torch import Tensor
from torch.utils.data import DataLoader

from mmad.datasets.output_folder import check_output_folder
from mmad.errors import InputError
from mmad.registry import DATASETS, HOOKS
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import scored_window
from mmad.utils import check_choice, check_number, printable
from mmad.utils.path_checks import check_folder
from mmad.utils.progress import show_progress
from mmad.utils.safe_path import safe_path
from mmad.visualization import AnomalyVisualizer
from mmad.visualization.heat_scale import HeatScale

from .drawn_images import (
    Picture,
    Readers,
    find_readers,
    has_scale,
    name_files,
    name_of,
    read_original,
    require_original,
)


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Draw the test images, and some of them for trackers.

    Colors mean the same in all images of a run. If the model has thresholds,
    they are in units of the pixel threshold, and each image is drawn when it
    is scored. Otherwise the scale is from the median of the mean values of the
    anomaly maps to the 98th percentile of the maxima, over all processes, and
    maps are kept in memory until it is known: about 250 KB each at 224 pixels,
    and as much for images that are not drawn from their files.

    The images that a sampler repeats to fill its last round are neither drawn
    nor counted, so the files do not depend on the number of processes.

    If the visualizer has back ends other than ``LocalVisBackend``, such as
    ``TensorboardVisBackend``, they get a sample of the drawings of each
    validation and test, always of the same images.

    Args:
        enable (bool): Whether to write files for the test images. Defaults to
            False.
        out_dir (str, optional): Folder for the files
            ``DEFECT_TYPE/STEM.png``. If several images of a defect type have
            the same stem, the files are named
            ``DEFECT_TYPE/STEM_INDEX.png``, with the positions of the images
            in the data set. Defaults to None: ``visualization`` in the work
            directory.
        interval (int): Write one file out of this many. Defaults to 1.
        max_images (int): Maximum number of files. Defaults to 1000.
        frame (str): ``'original'`` reads the file again and draws the
            original image, with its mask and with the map at its size; the
            part outside the crop is gray. ``'input'`` draws the model input.
            Defaults to ``'auto'``: the original where there is a file and the
            place of the model input in it is known.
        tracked_images (int): Number of drawings for the back ends, spread
            evenly over the data set. Defaults to 8.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(self,
                 enable: bool = False,
                 out_dir: str | None = None,
                 interval: int = 1,
                 max_images: int = 1000,
                 frame: str = 'auto',
                 tracked_images: int = 8) -> None:
        check_number('interval', interval, low=1, integer=True)
        check_number('max_images', max_images, low=1, integer=True)
        check_number('tracked_images', tracked_images, low=0, integer=True)
        check_choice('frame', frame, ('auto', 'input', 'original'))
        self.enable = enable
        self.out_dir = out_dir
        self.interval = interval
        self.max_images = max_images
        self.frame = frame
        self.tracked_images = tracked_images
        self._has_said_why = False

    def before_test(self, runner: Runner) -> None:
        """Check before the test that the drawings can be written.

        Raises:
            InputError: If the folder cannot be written to, or the drawings
                might replace images of the data set.
        """
        if self.enable:
            check_folder(self._folder(runner), 'the folder of heat maps')
            check_output_folder(self._folder(runner), _datasets(runner))
            # Ctrl-C leaves no time to tidy up.
            for left in self._folder(runner).glob(f'{_unnamed()}*'):
                shutil.rmtree(left, ignore_errors=True)

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget the images of an earlier epoch."""
        self._begin(runner, runner.val_dataloader)

    def before_test_epoch(self, runner: Runner) -> None:
        """Forget the images of an earlier epoch."""
        self._begin(runner, runner.test_dataloader)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                       outputs: list) -> None:
        """Keep the images for the back ends."""
        self._take(runner, data_batch, outputs, False)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: list) -> None:
        """Draw images, or keep them until the scale is known."""
        self._take(runner, data_batch, outputs, self.enable)

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict | None = None) -> None:
        """Draw the images for the back ends."""
        self._track(runner, 'val', _step(runner))

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict | None = None) -> None:
        """Draw what was kept, and give the files their names."""
        self._track(runner, 'test', 0)
        if not self.enable:
            return
        names = name_files(
            chain.from_iterable(
                all_gather_object([picture.entry for picture in self._files])))
        folder = self._folder(runner)
        value_range = self._value_range()
        for picture in show_progress(
                self._files,
                'Drawing heat maps',
                enable=not all(picture.file for picture in self._files)):
            path = folder / f'{names[picture.entry[0]]}.png'
            if picture.file is None:
                self._draw(picture, value_range, path.stem, out_file=path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(picture.file, path)
        self._files.clear()
        if self._drawn is not None:
            self._drawn.cleanup()

    def after_test(self, runner: Runner) -> None:
        """Log the folder of the heat maps, below the metrics."""
        if self.enable:
            runner.logger.info(printable(f'Heat maps: {self._folder(runner)}'))

    def _folder(self, runner: Runner) -> Path:
        return Path(self.out_dir or Path(runner.work_dir) / 'visualization')

    def _begin(self, runner: Runner, loader: DataLoader) -> None:
        self._files: list[Picture] = []
        self._tracked: list[Picture] = []
        self._drawn: TemporaryDirectory | None = None
        self._means: list[float] = []
        self._maxima: list[float] = []
        self._seen = 0
        self._readers: Readers | None = None
        self._loader = loader
        self._size = len(loader.dataset)  # type: ignore[arg-type]
        # The visualizers of other packages cannot draw anomaly maps.
        self._visualizer = (
            runner.visualizer if isinstance(
                runner.visualizer, AnomalyVisualizer) else AnomalyVisualizer())
        self._picks = _picks(self.tracked_images * _has_tracker(runner),
                             self._size)

    def _take(self, runner: Runner, data_batch: dict,
              outputs: Sequence[AnomalyDataSample], is_drawn: bool) -> None:
        if not (is_drawn or self._picks):
            return
        rank, world_size = get_dist_info()
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            # The sampler gives the images to the processes in turn, and then
            # repeats some to fill the last round.
            position = rank + world_size * self._seen
            self._seen += 1
            if world_size > 1 and position >= self._size:
                continue
            self._measure(sample)
            turn, rest = divmod(position, self.interval)
            is_file = is_drawn and rest == 0 and turn < self.max_images
            is_tracked = position in self._picks
            if not (is_file or is_tracked):
                continue
            picture = self._picture(runner, position, image, sample)
            if is_tracked:
                self._tracked.append(picture)
            if is_file:
                self._add_file(runner, picture)

    def _measure(self, sample: AnomalyDataSample) -> None:
        if has_scale(sample):
            return
        height, width = sample.pred_map.shape
        scores = sample.pred_map[scored_window(sample, (height, width))]
        scores = scores[scores.isfinite()]
        if scores.numel():
            self._means.append(float(scores.mean()))
            self._maxima.append(float(scores.max()))

    def _value_range(self) -> tuple[float, float]:
        """Return the scale for images without thresholds."""
        means, maxima = (
            np.concatenate(all_gather_object(values))
            for values in (self._means, self._maxima))
        scale = HeatScale.of_maps(means, maxima)
        return scale.low, scale.high

    def _picture(self, runner: Runner, position: int, image: Tensor,
                 sample: AnomalyDataSample) -> Picture:
        # Clones, since views would keep the whole batch in memory.
        sample = sample.cpu()
        for key, value in sample.items():
            if isinstance(value, Tensor):
                setattr(sample, key, value.clone())
        entry = name_of(sample, position)
        if self.frame != 'input':
            try:
                require_original(sample)
                return Picture(entry, sample, None)
            except InputError as error:
                if self.frame == 'original':
                    raise
                self._say_why(runner, error)
        pixels = image.cpu().permute(1, 2, 0).numpy()
        return Picture(entry, sample, np.ascontiguousarray(pixels))

    def _say_why(self, runner: Runner, error: InputError) -> None:
        """Log once why the model input is drawn."""
        if not self._has_said_why:
            reason = str(error).partition(';')[0]
            runner.logger.info(
                printable(f'Heat maps show the model input: {reason}.'))
        self._has_said_why = True

    def _add_file(self, runner: Runner, picture: Picture) -> None:
        # Fail here rather than at the end of a long test.
        position, defect_type, stem = picture.entry
        safe_path(self._folder(runner), defect_type, f'{stem}.png')
        if has_scale(picture.sample):
            if self._drawn is None:
                self._folder(runner).mkdir(parents=True, exist_ok=True)
                self._drawn = TemporaryDirectory(
                    prefix=_unnamed(), dir=self._folder(runner))
            file = Path(self._drawn.name, f'{position}.png')
            self._draw(picture, None, stem, out_file=file)
            picture = Picture(picture.entry, AnomalyDataSample(), None, file)
        self._files.append(picture)

    def _draw(self, picture: Picture, value_range: tuple[float, float] | None,
              name: str, **kwargs) -> None:
        sample, image, frame = picture.sample, picture.image, 'input'
        if image is None:
            if self._readers is None:
                self._readers = find_readers(self._loader.dataset)
            sample, frame = sample.new(), 'original'
            image = read_original(sample, self._readers)
        if has_scale(sample):
            value_range = None
        self._visualizer.add_datasample(
            name,
            image,
            sample,
            value_range=value_range,
            frame=frame,
            **kwargs)

    def _track(self, runner: Runner, mode: str, step: int) -> None:
        """Draw the images for the back ends."""
        if not self._picks:
            return
        value_range = self._value_range()
        names = name_files(picture.entry for picture in self._tracked)
        for picture in self._tracked:
            name = re.sub(r'[^\w.-]+', '_',
                          f'{mode}_{names[picture.entry[0]]}')
            self._draw(picture, value_range, name, step=step)
        self._tracked.clear()


def _unnamed() -> str:
    """How folders of drawings begin whose names are not yet known."""
    return f'.drawing-{get_dist_info()[0]}-'


def _has_tracker(runner: Runner) -> bool:
    """Whether a back end shows images elsewhere than in the work dir."""
    return isinstance(runner.visualizer, AnomalyVisualizer) and any(
        not isinstance(backend, LocalVisBackend)
        for backend in runner.visualizer._vis_backends.values())


def _picks(number: int, size: int) -> frozenset[int]:
    """Choose positions of the data set that the first process tests."""
    world_size = get_dist_info()[1]
    if not (number and size):
        return frozenset()
    places = np.linspace(0, size - 1, min(number, size)).astype(int)
    return frozenset((places - places % world_size).tolist())


def _step(runner: Runner) -> int:
    """Return the step that MMEngine logs the metrics of a validation at."""
    loop = runner._train_loop
    if not isinstance(loop, BaseLoop):  # not built, in a run that only tests
        return 0
    return runner.iter if isinstance(loop,
                                     IterBasedTrainLoop) else runner.epoch


def _datasets(runner: Runner) -> list[BaseDataset]:
    """Return the test set, and the training set if its files exist."""
    datasets = [runner.test_dataloader.dataset]
    loader = (runner.cfg.get('train_dataloader') or {}).get('dataset')
    if loader:
        with suppress(InputError):
            datasets.append(DATASETS.build(loader))
    return datasets
