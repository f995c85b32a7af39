"""The formats of exported models: how each is written and run."""
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmad.errors import InputError

# A model as a function of uint8 images (B, H, W, 3).
Graph = Callable[[np.ndarray], dict[str, np.ndarray]]


class Format(NamedTuple):
    """A format of exported models.

    Attributes:
        suffix (str): Of the file.
        packages (Sequence[str]): What writing and running it takes.
        extra (str): Extra of mmad that installs these packages.
        write (Callable): Writes ``program`` to ``path``; takes the names of
            the outputs as well.
        load (Callable): Returns the model in ``path`` as a :data:`Graph`.
    """

    suffix: str
    packages: Sequence[str]
    extra: str
    write: Callable[[Any, Path, Sequence[str]], None]
    load: Callable[[Path, Sequence[str]], Graph]

    def require_packages(self) -> None:
        """Raise :class:`InputError` if a package is missing."""
        missing = [name for name in self.packages if find_spec(name) is None]
        if missing:
            raise InputError(
                f'this format needs {", ".join(missing)}; install what is '
                f"missing with: pip install 'mmad[{self.extra}]'.")


def _write_torch(program: Any, path: Path, outputs: Sequence[str]) -> None:
    torch.export.save(program, path)


def _load_torch(path: Path, outputs: Sequence[str]) -> Graph:
    module = torch.export.load(path).module()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = module(torch.from_numpy(images))
        return {name: found[name].numpy() for name in outputs}

    return run


def _write_onnx(program: Any, path: Path, outputs: Sequence[str]) -> None:
    import onnx_ir
    with _quiet('torch.onnx', 'onnxscript', 'onnx_ir'):
        model = torch.onnx.export(
            program,
            input_names=['images'],
            output_names=list(outputs),
            dynamo=True,
            verbose=False)
        graph = model.model.graph  # type: ignore[union-attr]
        for value in (*graph.inputs, *graph.outputs):
            # PyTorch names the size by a number.
            value.shape = onnx_ir.Shape(
                size if isinstance(size, int) else 'batch'
                for size in value.shape)
        # Weights of more than 2 GB go to a second file, `path` + ".data".
        model.save(path)  # type: ignore[union-attr]


def _load_onnx(path: Path, outputs: Sequence[str]) -> Graph:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider'])

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(
            zip(outputs, session.run(list(outputs), dict(images=images))))

    return run


def _write_openvino(program: Any, path: Path, outputs: Sequence[str]) -> None:
    import openvino
    onnx = path.with_suffix('.onnx')
    _write_onnx(program, onnx, outputs)
    model = openvino.convert_model(onnx)
    # Not in half precision, which would move scores.
    openvino.save_model(model, path, compress_to_fp16=False)
    del model
    for file in path.parent.glob(f'{onnx.name}*'):
        file.unlink()


def _load_openvino(path: Path, outputs: Sequence[str]) -> Graph:
    import openvino
    model = openvino.compile_model(path, 'CPU',
                                   dict(INFERENCE_PRECISION_HINT='f32'))

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        found = model(images)
        return {name: found[name] for name in outputs}

    return run


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Show only the errors of some loggers."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


_ONNX = 'onnx', 'onnxruntime', 'onnxscript'
FORMATS = {
    'onnx':
    Format('.onnx', _ONNX, 'export', _write_onnx, _load_onnx),
    'torch-export':
    Format('.pt2', (), '', _write_torch, _load_torch),
    'openvino':
    Format('.xml', (*_ONNX, 'openvino'), 'openvino', _write_openvino,
           _load_openvino),
}
