import ast
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import load_state_dict

from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.registry import MODELS
from mmad.utils import load_checkpoint, setup_environment
from mmad.utils.weights import forget_weights


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
        config = _read_config(text, checkpoint)
    elif not isinstance(config, Config):
        config = Config.fromfile(config)
    forget_weights(config.model)
    model = MODELS.build(config.model)
    if not isinstance(model, BaseDetector):
        raise InputError(f'"{checkpoint}" is of a {config.model.type}, which '
                         'is no detector and cannot predict.')
    load_state_dict(model, state.get('state_dict', {}), strict=True)
    model.cfg = config
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return model.to(device).eval()


def _read_config(text: str, checkpoint: str | Path) -> Config:
    """Read a dumped config as data; a checkpoint must not run code."""
    try:
        return Config({
            statement.targets[0].id:
            ast.literal_eval(_DictCalls().visit(statement.value))
            for statement in ast.parse(text).body
        })
    except (AttributeError, SyntaxError, ValueError) as error:
        raise InputError(
            f'the config stored in checkpoint "{checkpoint}" holds more than '
            'plain values; give the config file instead.') from error


class _DictCalls(ast.NodeTransformer):
    """Turns ``dict(key=value)`` into a literal; other calls stay."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if getattr(node.func, 'id', None) != 'dict' or node.args:
            return node
        return ast.Dict([k.arg and ast.Constant(k.arg) for k in node.keywords],
                        [k.value for k in node.keywords])
