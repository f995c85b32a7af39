import math
from abc import abstractmethod

import torch
from mmengine.dist import all_reduce, get_dist_info, get_world_size
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from mmad.errors import InputError
from mmad.structures import AnomalyDataSample

from .base import blank
from .signed_detector import SignedDetector

# Images at a time on a CPU, whose caches hold no more.
_CPU_GROUP = 8


class FitDetector(SignedDetector):
    """A detector that is fitted in one pass or few, without gradients.

    In each of :attr:`num_passes` epochs the training loop hands over every
    image once (:meth:`train_step`), then
    :class:`~mmad.engine.hooks.FitHook` calls :meth:`fit`. Each process sees
    the images of its own shard; samples that a sampler repeats to fill up
    the last round are dropped.

    Subclasses implement :meth:`extract`, :meth:`collect`, :meth:`estimate`
    and ``signature``, and keep what they learn in persistent buffers. Where
    they take borders, :meth:`collect` has a third argument, a mask
    ``(B, 1, H, W)`` of the pixels that show the images, None for all; there
    are zeros elsewhere.

    Args:
        data_preprocessor (dict, optional): Batches and normalizes images.
            Defaults to None.
    """

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self._num_images = self._batch_size = self._passes_done = 0
        self._num_seen = 0
        self._ids: list[int] = []

    @abstractmethod
    def extract(self, inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features ``(B, ...)`` of images ``(B, 3, H, W)``, or several."""

    @abstractmethod
    def collect(self, features: Tensor | tuple[Tensor, ...],
                sample_ids: list[int]) -> None:
        """Take in the features of new images, each seen once."""

    @abstractmethod
    def estimate(self) -> None:
        """Turn what was collected, by all processes, into the state.

        Once per pass; what a pass before the last one estimates is there for
        :meth:`extract` and :meth:`collect` in the next.
        """

    @property
    def num_passes(self) -> int:
        """Epochs that a fit takes."""
        return 1

    @property
    def needs_training(self) -> bool:
        """Whether :meth:`extract` is trained by gradients before a fit."""
        return False

    @property
    def num_images(self) -> int:
        """Images in the training set, over all processes."""
        return self._num_images

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        """Forget an earlier fit and expect so many images.

        Args:
            num_images (int): Size of the training set.
            batch_size (int): Images per step. They reach :meth:`extract` in
                groups, of which all have one size, so that the features of
                an image do not depend on how many there are in its batch.

        Raises:
            InputError: There are more processes than images.
        """
        if get_world_size() > num_images:
            raise InputError(
                f'there are {get_world_size()} processes for {num_images} '
                'training images; use at most one for each image.')
        self.signature_bytes = self.signature_bytes.new_empty(0)
        self.input_size.zero_()
        self._num_images, self._batch_size = num_images, batch_size
        self._passes_done = self._num_seen = 0
        self._ids = []

    def train_step(self, data: dict, optim_wrapper=None) -> dict:
        self.fit_step(data)
        return {}

    def loss(self, inputs: Tensor,
             data_samples: list[AnomalyDataSample]) -> dict:
        """Take in a batch; there is nothing to minimize."""
        self.take_in(inputs, data_samples)
        return {}

    @torch.no_grad()
    def fit_step(self, data: dict) -> None:
        """Preprocess a batch from the data loader and take it in."""
        data = self.data_preprocessor(data, True)
        self.take_in(data['inputs'], data['data_samples'])

    def take_in(self, inputs: Tensor,
                data_samples: list[AnomalyDataSample]) -> None:
        """Extract and collect the features of a batch.

        Args:
            inputs (Tensor): Preprocessed images ``(B, 3, H, W)``.
            data_samples (list[AnomalyDataSample]): Theirs.

        Raises:
            InputError: Features are not finite, or images not numbered or not
                of one size; or no fit was begun.
        """
        if not self._num_images:
            raise InputError(
                f'{type(self).__name__} was given images before `begin_fit`; '
                'with a Runner, `custom_hooks` needs the FitHook.')
        inside = self.check_frame(inputs, data_samples)
        if inside is not None:
            inputs = blank(inputs, inside)
        size = self._batch_size
        if inputs.is_cpu:
            size = max(n for n in range(1, _CPU_GROUP + 1) if size % n == 0)
        for start in range(0, len(inputs), size):
            group = slice(start, start + size)
            self._take_in_group(
                inputs[group], None if inside is None else inside[group],
                data_samples[group], size)

    def _take_in_group(self, inputs: Tensor, inside: Tensor | None,
                       data_samples: list[AnomalyDataSample],
                       size: int) -> None:
        """Take in a part of a batch, padded to ``size``."""
        missing = size - len(inputs)
        if missing > 0:
            inputs = torch.cat([inputs, inputs[:1].repeat(missing, 1, 1, 1)])
        features = self.extract(inputs)
        _check_finite(features, data_samples)
        rank, world = get_dist_info()
        # DefaultSampler deals images out in turn and fills up at the end.
        fresh = [
            i for i in range(len(data_samples))
            if rank + world * (self._num_seen + i) < self._num_images
        ]
        self._num_seen += len(data_samples)
        if fresh:
            ids = [data_samples[i].sample_idx for i in fresh]
            if max(ids) >= self._num_images:
                raise InputError(
                    f'a training image has the `sample_idx` {max(ids)}, but '
                    f'there are {self._num_images} images; a data set must '
                    'number its images from 0.')
            self._ids += ids
            # Most groups hold no padding, and then nothing is copied.
            if len(ids) < len(inputs):
                features = tree_map(lambda part: part[fresh], features)
            if inside is None:
                self.collect(features, ids)
            else:
                self.collect(features, ids, inside[fresh])

    @torch.no_grad()
    def fit(self) -> None:
        """End a pass: estimate from everything collected in it.

        Raises:
            InputError: Some images of the training set were not seen, or two
                have the same number.
        """
        counts = torch.bincount(
            torch.tensor(self._ids, dtype=torch.int64),
            minlength=self._num_images)
        all_reduce(counts)
        if int(counts.sum()) != self._num_images:
            raise InputError(
                f'collected {int(counts.sum())} of {self._num_images} '
                'training images; fitting needs each once: use '
                'DefaultSampler and drop_last=False.')
        if (counts > 1).any():
            raise InputError(
                'two training images have the same `sample_idx`; a data set '
                'must number its images (ConcatDataset does not).')
        self.estimate()
        self._num_seen, self._ids = 0, []
        self._passes_done += 1
        if self._passes_done == self.num_passes:
            self.sign()


def _check_finite(features: Tensor | tuple[Tensor, ...],
                  data_samples: list[AnomalyDataSample]) -> None:
    parts = tree_leaves(features)
    # Both ends of a range are NaN where there is one in it.
    if all((torch.stack(part.aminmax()).abs() < _largest(part)).all()
           for part in parts):
        return
    for i, sample in enumerate(data_samples):
        if not all((part[i].abs() < _largest(part)).all() for part in parts):
            raise InputError(
                f'image "{sample.get("img_path")}" has non-finite features, '
                'or such whose distances would overflow; check the weights '
                'and the normalization.')


def _largest(features: Tensor) -> float:
    """The number that squared distances of features overflow at."""
    return math.sqrt(torch.finfo(torch.float32).max / 4 / features.shape[1])
