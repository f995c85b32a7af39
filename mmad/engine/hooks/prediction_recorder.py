import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.runner import Runner, TestLoop, ValLoop

from mmad.evaluation import SaturatedPROMetric
from mmad.evaluation.choose_examples import Candidate, choose_examples
from mmad.evaluation.example import Example
from mmad.evaluation.functional import Ranking
from mmad.evaluation.metrics.gathered_metric import gather_in_order
from mmad.evaluation.metrics.image_pixels import defect_type_of
from mmad.evaluation.predictions import Predictions
from mmad.evaluation.report import plain_value
from mmad.models.layers import Decision
from mmad.structures import AnomalyDataSample
from mmad.utils.inner_datasets import inner_datasets

from .hook_utils import get_detector

_MAX_CALIBRATION = 2000
_KNOWN = ('image_threshold', 'pixel_threshold', 'false_alarm_rate')


class PredictionRecorder:
    """Record of what a model says about each image of a test set.

    Of each image it keeps the path and the score, and of a limited number the
    anomaly map too, see
    :func:`~mmad.evaluation.choose_examples.choose_examples`.

    Args:
        size (int): Number of images of the data set.
        max_examples (int): Number of images whose maps are kept.
    """

    def __init__(self, size: int, max_examples: int) -> None:
        self.size = size
        self.max_examples = max_examples
        self._rank, self._world_size = get_dist_info()
        self._is_complete = True
        self._images: list[tuple[str, float, str | None, float | None]] = []
        self._kept: dict[Candidate, Example] = {}
        self._about: dict[str, Any] = {}

    def add(self, samples: Sequence[AnomalyDataSample]) -> None:
        """Record the next predictions of this process."""
        new = {}
        for data_sample in samples:
            sample = data_sample.to_dict()
            if sample.get('pred_score') is None or sample.get(
                    'gt_label') is None:
                self._is_complete = False
                continue
            # The sampler gives the images to the processes in turn, and then
            # repeats some to fill the last round.
            position = self._rank + self._world_size * len(self._images)
            path = sample.get('img_path')
            kind = defect_type_of(sample)
            score = float(sample['pred_score'])
            p_value = sample.get('p_value')
            self._images.append(
                (f'image {position}' if path is None else str(path), score,
                 kind, None if p_value is None else float(p_value)))
            if position < self.size:
                new[Candidate(position, kind, score)] = sample
            self._about = {
                name: sample.get(name)
                for name in _KNOWN if name in sample
            }
        chosen = self._choose([*self._kept, *new], len(self._images))
        self._kept = {
            image: self._kept.get(image)
            or Example.of(new[image], image.position)
            for image in chosen
        }

    def gather(self) -> Predictions | None:
        """Gather the records of all processes, and forget them.

        Returns:
            Predictions | None: All of them, in the order of the data set, in
            the first process. None in the others, and if there are none, or
            samples without a score or a label among them.
        """
        complete = all(all_gather_object(self._is_complete))
        images = gather_in_order(self._images, self.size) if complete else None
        candidates = [
            Candidate(*image) for part in all_gather_object(list(self._kept))
            for image in part
        ]
        chosen = set(self._choose(candidates, self.size))
        examples = gather_in_order([
            example for image, example in self._kept.items() if image in chosen
        ], len(candidates))
        self._images, self._kept = [], {}
        if not images or examples is None:
            return None
        paths, scores, kinds, p_values = (list(part) for part in zip(*images))
        names = sorted({kind for kind in kinds if kind is not None})
        codes = {name: code for code, name in enumerate(names, 1)}
        return Predictions(
            paths,
            np.array(scores, np.float32),
            np.array([codes.get(kind, 0) for kind in kinds], np.int32),
            names,
            None if None in p_values else np.array(p_values, np.float32),
            sorted(examples, key=lambda example: example.position),
            about=dict(self._about))

    def _choose(self, images: Sequence[Candidate],
                total: int) -> Sequence[Candidate]:
        if total <= self.max_examples:
            return images
        return choose_examples(images, self.max_examples)


def complete_predictions(predictions: Predictions, runner: Runner,
                         loop: ValLoop | TestLoop, split: str) -> None:
    """Add how the predictions came about, and the ranking of the pixels.

    Args:
        predictions (Predictions): The predictions, which are changed.
        runner (Runner): The runner.
        loop (ValLoop | TestLoop): The loop that made them.
        split (str): ``'val'`` or ``'test'``.
    """
    detector = get_detector(runner)
    data = inner_datasets(loop.dataloader.dataset)[0]
    predictions.about.update(
        split=split,
        method=type(detector).__name__,
        config=Path(runner.cfg.filename or '').name,
        folder=os.getcwd(),
        data=type(data).__name__,
        category=plain_value(getattr(data, 'category', None)))
    decision = getattr(detector, 'decision', None)
    if isinstance(decision, Decision) and decision.is_fitted:
        scores = decision.scores.tolist()
        step = max(1, -(-len(scores) // _MAX_CALIBRATION))
        predictions.about.update(
            decision.conditions, calibration_scores=scores[step - 1::step])
    for metric in getattr(loop.evaluator, 'metrics', []):
        ranking = getattr(metric, 'ranking', None)
        if isinstance(ranking, Ranking):
            predictions.pixel_ranking = ranking
            if isinstance(metric, SaturatedPROMetric):
                predictions.about['is_saturated'] = True
            break
