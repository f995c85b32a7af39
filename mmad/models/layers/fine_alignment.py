from itertools import pairwise

from torch import Tensor, nn

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_number

from .gather_batch import gather_batch


class FineAlignment(nn.Module):
    """Encoder and predictor of FYD's fine alignment stage.

    The encoder encodes the features of an image, and the predictor predicts
    from them those of another image (arXiv 2110.04538). Both are needed for
    the loss only, see :class:`~mmad.models.AlignmentLoss`. The
    layers are those of RegAD's code: an encoder of three and a predictor of
    two 1 x 1 convolutions, with batch normalization and ReLU in between, all
    with as many channels as the features.

    Args:
        channels (int): Number of channels of the features.
        pair (str): What an image is compared with: ``'cyclic'``, the next
            image in the batch, or ``'batch_mean'``, the mean features of all
            others in it. It is not known which of them the paper has.
            Defaults to ``'cyclic'``, since the batch is in random order.

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
        """Encode and predict the features of a batch and of their partners.

        In training, the batches of all processes are one.

        Args:
            features (Tensor): ``(B, C, h, w)``.

        Returns:
            tuple: Predictions and encodings, each of the features and of those
            that they are compared with, ``(B, C, h, w)``; in training on ``K``
            processes ``(K B, C, h, w)``, the same in all.
        """
        if self.training:
            features = gather_batch(features)
        encoding = self.encoder(features)
        prediction = self.predictor(encoding)
        if self.pair == 'cyclic':
            return ((prediction, prediction.roll(1, 0)), (encoding,
                                                          encoding.roll(1, 0)))
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
            or stages[-1] not in compared or len(set(compared)) < len(compared)
            or not set(compared) <= set(stages)):
        raise InputError(
            f'`stages` of `fas` must be among those of the backbone, '
            f'{list(stages)}, each once, with the last of them, got '
            f'{compared}.')
