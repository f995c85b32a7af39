from itertools import pairwise

from torch import Tensor, nn

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_number

from .gather_batch import gather_batch


class FineAlignment(nn.Module):
    """Encode features and predict from one image those of another.

    The networks of FYD's fine alignment stage (arXiv 2110.04538), which are
    there for its loss only. The paper trains without negatives; the
    layers are RegAD's: an encoder of three and a predictor of two
    1 x 1 convolutions, with batch normalization and ReLU in between, all as
    wide as the features.

    Args:
        channels (int): Of the features.
        pair (str): What an image is compared with: ``'cyclic'``, the next one
            in the batch, or ``'batch_mean'``, the mean features of all others
            in it. Which is the paper's we do not know. Defaults to
            ``'cyclic'``: the batch is in random order.

    Raises:
        InputError: An argument is unknown or out of its range.
    """

    def __init__(self, channels: int, pair: str = 'cyclic') -> None:
        super().__init__()
        check_number('channels', channels, low=1, integer=True)
        check_choice('pair', pair, ('cyclic', 'batch_mean'))
        self.pair = pair
        self.encoder = _pointwise([channels] * 4)
        self.predictor = _pointwise([channels] * 3)

    def forward(
        self, features: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Pair each image of a batch, in training of all processes.

        Args:
            features (Tensor): ``(B, C, h, w)``.

        Returns:
            tuple: Predictions and encodings, each from the features and from
            those that they are compared with, ``(B, C, h, w)``; in training
            on ``K`` processes ``(K B, C, h, w)``, the same in all.
        """
        if self.training:
            features = gather_batch(features)
        encoding = self.encoder(features)
        prediction = self.predictor(encoding)
        if self.pair == 'cyclic':
            return ((prediction, prediction.roll(1, 0)),
                    (encoding, encoding.roll(1, 0)))
        others = features.sum(0, keepdim=True) - features
        other = self.encoder(others / max(len(features) - 1, 1))
        return (prediction, self.predictor(other)), (encoding, other)


def _pointwise(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for old, new in pairwise(widths):
        layers += [nn.Conv2d(old, new, 1), nn.BatchNorm2d(new), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


def check_stages(compared: object, stages: tuple[str, ...]) -> None:
    """Check the names of the stages whose features are compared.

    Raises:
        InputError: They are not some of ``stages`` with the last of them.
    """
    if (not isinstance(compared, list | tuple)
            or not all(isinstance(stage, str) for stage in compared)
            or stages[-1] not in compared
            or len(set(compared)) < len(compared)
            or not set(compared) <= set(stages)):
        raise InputError(
            f'`stages` of `fas` must be out of those of the backbone, '
            f'{list(stages)}, each once, with the last of them, got '
            f'{compared}.')
