from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import load_state_dict

from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.registry import MODELS
from mmad.utils import load_checkpoint, setup_environment


def init_model(checkpoint: str | Path,
               config: str | Path | Config | None = None,
               device: str | None = None) -> BaseDetector:
    """Build a detector from a checkpoint, ready to predict.

    Args:
        checkpoint (str | Path): Written by ``tools/train.py``. It is complete
            in itself: nothing is downloaded.
        config (str | Path | Config, optional): Defaults to None: the config
            stored in the checkpoint.
        device (str, optional): Defaults to None: CUDA if there is any.

    Returns:
        BaseDetector: In evaluation mode, with its config as ``.cfg``.

    Raises:
        InputError: The checkpoint is missing, broken, unsafe or of another
            model.
    """
    setup_environment()
    state = load_checkpoint(str(checkpoint), map_location='cpu')
    if config is None:
        text = state.get('meta', {}).get('cfg')
        if text is None:
            raise InputError(f'checkpoint "{checkpoint}" stores no config; '
                             'give one.')
        config = Config.fromstring(text, '.py')
    elif not isinstance(config, Config):
        config = Config.fromfile(config)
    config.model.backbone.weights = None
    model = MODELS.build(config.model)
    load_state_dict(model, state.get('state_dict', {}), strict=True)
    model.cfg = config
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return model.to(device).eval()
