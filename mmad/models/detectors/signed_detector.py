from mmad.models.signed_model import SignedModel

from .base import BaseDetector


class SignedDetector(SignedModel, BaseDetector):
    """A detector whose state says what it was made with.

    See :class:`~mmad.models.SignedModel`.

    Args:
        data_preprocessor (dict, optional): Batches and normalizes images.
            Defaults to None.
    """
