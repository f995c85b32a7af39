import math
from collections.abc import Iterator, Sequence
from numbers import Integral

import torch
from mmengine.dist import get_dist_info
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from mmad.errors import InputError
from mmad.models.layers.fitted_module import FittedModule
from mmad.models.layers.processes import all_reduce_
from mmad.structures import AnomalyDataSample

# Images at a time on a CPU, whose caches hold no more than the upper bound.
_CPU_GROUPS = range(8, 3, -1)

Features = Tensor | tuple[Tensor, ...]


class FitPass:
    """One pass of a fit over the images of a training set.

    It splits batches into groups of one size, so that the features of an
    image do not depend on how many others are in its batch; drops the images
    that a sampler repeats to fill up the last round; and checks that features
    are finite and each image is seen once.

    Args:
        num_images (int): Size of the training set.
        batch_size (int): Images per step and process.
        first_id (int): Number that modules get for the first image. Defaults
            to 0.

    Attributes:
        ids (list[int]): Numbers of the images that this process took in.
        num_seen (int): Number of images that it was given, with those that
            were left out.
    """

    def __init__(self,
                 num_images: int,
                 batch_size: int,
                 first_id: int = 0) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.first_id = first_id
        self.num_seen = 0
        self.ids: list[int] = []
        self._num_known = 0

    @property
    def num_batches(self) -> int:
        """Number of batches that this process was given."""
        return -(-self.num_seen // self.batch_size)

    def go_on(self, ids: list[int], num_seen: int) -> None:
        """Go on where an earlier pass has stopped, with its last batch.

        That batch is given again, for what depends on it beside the module,
        but none of its images is taken in.

        Args:
            ids (list[int]): Numbers of the images that the earlier one took
                in, in this process.
            num_seen (int): Number of images that it was given.
        """
        self.ids, self._num_known = ids, num_seen
        self.num_seen = max(num_seen - 1,
                            0) // self.batch_size * self.batch_size

    def groups(self, inputs: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Split a batch ``(B, ...)`` into groups of one size.

        Yields:
            tuple[slice, Tensor]: Which images of the batch it holds, and
            these, filled up with copies of the first.
        """
        size = self.batch_size
        if inputs.is_cpu and size > _CPU_GROUPS[0]:
            size = min(_CPU_GROUPS, key=lambda n: -(-self.batch_size // n) * n)
        for start in range(0, len(inputs), size):
            group = inputs[start:start + size]
            missing = size - len(group)
            if missing:
                group = torch.cat(
                    [group, group[:1].expand(missing, *group.shape[1:])])
            yield slice(start, start + size - missing), group

    def take_in(self, module: FittedModule, features: Features,
                samples: Sequence[AnomalyDataSample],
                inside: Tensor | None) -> None:
        """Update a module with the features of new images.

        Images that the sampler repeats are left out, and those that
        :meth:`go_on` knows.

        Args:
            module (FittedModule): Is updated.
            features (Tensor | tuple[Tensor, ...]): ``(G, ...)`` each, of a
                group, of which the first belong to the samples.
            samples (Sequence[AnomalyDataSample]): ``B <= G`` of them.
            inside (Tensor, optional): ``(B, 1, H, W)`` bool, False in the
                border of a letterbox; None where there is none.

        Raises:
            InputError: Features are not finite, or an image has no number or
                one that the training set does not have.
        """
        _check_finite(features, samples)
        rank, world = get_dist_info()
        # DefaultSampler deals images out in turn and fills up at the end.
        fresh = [
            i for i in range(len(samples)) if rank + world *
            (self.num_seen + i) < self.num_images and self.num_seen +
            i >= self._num_known
        ]
        self.num_seen += len(samples)
        if not fresh:
            return
        ids = [samples[i].get('sample_idx') for i in fresh]
        for number in ids:
            if (not isinstance(number, Integral)
                    or not 0 <= int(number) < self.num_images):
                raise InputError(
                    f'a training image has the `sample_idx` {number!r}, but '
                    f'there are {self.num_images} images; a data set must '
                    'number its images from 0.')
        self.ids += map(int, ids)
        ids = [self.first_id + number for number in ids]
        # Most groups hold no padding, and then nothing is copied.
        if len(fresh) < len(tree_leaves(features)[0]):
            features = tree_map(lambda part: part[fresh], features)
        if inside is None:
            module.update(features, ids)
        else:
            # As `takes_borders` of the detector says.
            module.update(features, ids,
                          inside[fresh])  # type: ignore[call-arg]

    def check_complete(self) -> None:
        """Check that all processes together have seen each image once.

        Raises:
            InputError: An image was not seen, or two have the same number.
        """
        counts = torch.bincount(
            torch.tensor(self.ids, dtype=torch.int64),
            minlength=self.num_images)
        all_reduce_(counts)
        if int(counts.sum()) != self.num_images:
            raise InputError(
                f'collected {int(counts.sum())} of {self.num_images} '
                'training images; fitting needs each once: use '
                'DefaultSampler and drop_last=False.')
        if (counts > 1).any():
            raise InputError(
                'two training images have the same `sample_idx`; a data set '
                'must number its images.')


def _check_finite(features: Features,
                  samples: Sequence[AnomalyDataSample]) -> None:
    parts = tree_leaves(features)
    # Both ends of a range are NaN where there is one in it.
    if all((torch.stack(part.aminmax()).abs() < _largest(part)).all()
           for part in parts):
        return
    for i, sample in enumerate(samples):
        if not all((part[i].abs() < _largest(part)).all() for part in parts):
            raise InputError(
                f'image "{sample.get("img_path")}" has non-finite features, '
                'or such whose distances would overflow; check the weights '
                'and the normalization.')


def _largest(features: Tensor) -> float:
    """The number that squared distances of features overflow at."""
    return math.sqrt(torch.finfo(torch.float32).max / 4 / features.shape[1])
