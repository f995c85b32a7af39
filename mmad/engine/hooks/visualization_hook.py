from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.registry import HOOKS


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Draws the test images once all of them are scored.

    One colour scale serves all images: from the median of their mean values
    to the 98th percentile of their maxima, over all processes. Until then
    image and map wait in memory, about 250 KB each at 224 pixels.

    Args:
        enable (bool): Draw at all. Defaults to False.
        out_dir (str, optional): Folder for ``KIND/STEM.png``; where several
            images of a kind have the same stem, ``KIND/STEM_INDEX.png`` with
            their positions in the data set. Defaults to None:
            ``visualization`` in the work dir.
        interval (int): Draw every so many images. Defaults to 1.
        max_images (int): Most images that a process draws. Defaults to 1000.
    """

    def __init__(self,
                 enable: bool = False,
                 out_dir: str | None = None,
                 interval: int = 1,
                 max_images: int = 1000) -> None:
        self.enable = enable
        self.out_dir = out_dir
        self.interval = interval
        self.max_images = max_images

    def before_test_epoch(self, runner: Runner) -> None:
        self._waiting = []
        self._means, self._maxima = [], []
        self._seen = 0

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: list) -> None:
        if not self.enable:
            return
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            self._means.append(float(sample.pred_map.mean()))
            self._maxima.append(float(sample.pred_map.max()))
            if (self._seen % self.interval == 0
                    and len(self._waiting) < self.max_images):
                self._waiting.append((image.cpu(), sample.cpu()))
            self._seen += 1

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict | None = None) -> None:
        if not self.enable:
            return
        means, maxima = (
            np.concatenate(all_gather_object(values))
            for values in (self._means, self._maxima))
        value_range = float(np.median(means)), float(np.percentile(maxima, 98))
        folder = Path(self.out_dir or Path(runner.work_dir) / 'visualization')
        names = [(sample.kind, Path(sample.img_path).stem)
                 for _, sample in self._waiting]
        counts = Counter(chain.from_iterable(all_gather_object(names)))
        for (image, sample), name in zip(self._waiting, names, strict=True):
            kind, stem = name
            if counts[name] > 1:
                stem += f'_{sample.sample_idx}'
            runner.visualizer.add_datasample(
                stem,
                np.ascontiguousarray(image.permute(1, 2, 0).numpy()),
                sample,
                value_range,
                out_file=folder / kind / f'{stem}.png')
        self._waiting = []
        runner.logger.info(f'Heat maps: {folder}')
