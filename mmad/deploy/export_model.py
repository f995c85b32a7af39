import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmad.apis import init_model
from mmad.errors import InputError, summarize_error
from mmad.models import BaseDetector
from mmad.models.layers import MemoryBank
from mmad.utils import check_choice, check_number, write_atomically

from .exportable_detector import ExportableDetector
from .formats import FORMATS, Format
from .image_input import ImageInput
from .parity import Parity, images_of, random_images

_COLOR_ORDERS = 'rgb', 'bgr'
_PACKAGES = ('mmad', 'torch', 'onnx', 'onnxscript', 'onnxruntime', 'openvino')


def export_model(
    checkpoint: str | Path,
    format: str = 'onnx',
    out: str | Path | None = None,
    color_order: str = 'rgb',
    batch_size: int | None = None,
    check: str | Path | None = None,
    config: str | Path | Config | None = None,
    modules: str | Sequence[str] = ()
) -> dict:
    """Write a fitted detector as one graph that needs no mmad.

    The graph takes uint8 images as they are after the resize of the test
    pipeline, and does all that comes behind: crop, color order,
    normalization, network, what was fitted, anomaly map, and the decision
    where there are thresholds. It is compared with the checkpoint before it
    gets its name; if it differs, no file is written or changed.

    Args:
        checkpoint (str | Path): Checkpoint written by ``tools/train.py``.
        format (str): ``'onnx'``, ``'torch-export'`` or ``'openvino'``.
            Defaults to ``'onnx'``.
        out (str | Path, optional): File to write, with the suffix of the
            format: ``.onnx``, ``.pt2`` or ``.xml``. Its description gets the
            same name and ``.json``. Defaults to None: beside the checkpoint.
        color_order (str): Of the images that the graph takes, ``'rgb'`` or
            ``'bgr'``. Defaults to ``'rgb'``.
        batch_size (int, optional): Number of images that the graph takes.
            Defaults to None: any.
        check (str | Path, optional): Image or folder of images to compare the
            graph with the checkpoint on, besides random ones. Defaults to
            None.
        config (str | Path | Config, optional): As in
            :func:`~mmad.apis.init_model`. Defaults to None.
        modules (str | Sequence[str]): As in
            :func:`~mmad.apis.init_model`. Defaults to none.

    Returns:
        dict: The description, as in the file beside the graph.

    Raises:
        InputError: The model is not fitted, its method or its pipeline has no
            graph, a package is missing, or the graph differs from the
            checkpoint.
    """
    check_choice('format', format, FORMATS)
    check_choice('color_order', color_order, _COLOR_ORDERS)
    check_number('batch_size', batch_size, low=1, integer=True, optional=True)
    kind = FORMATS[format]
    kind.require_packages()
    out = Path(checkpoint).with_suffix(
        kind.suffix) if out is None else Path(out)
    if out.suffix != kind.suffix:
        raise InputError(f'the file of the format "{format}" must end in '
                         f'"{kind.suffix}", got "{out}".')
    detector = init_model(checkpoint, config, 'cpu', modules)
    for module in detector.modules():
        if isinstance(module, MemoryBank):
            module.search_by_torch()
    image_input = ImageInput.of(detector, str(checkpoint))
    model = ExportableDetector(detector, image_input, color_order).eval()
    outputs, program = make_program(model, batch_size)
    names = [output['name'] for output in outputs]
    with _new_files(out) as folder:
        path = folder / out.name
        with _one_sentence(detector, format):
            kind.write(program, path, names)
            del program
            graph = kind.load(path, names)
        parity = Parity(detector, graph, color_order, batch_size)
        parity.check(random_images(image_input))
        if check is not None:
            parity.check(images_of(str(check), detector))
        description = dict(
            format=format,
            file=out.name,
            digest=_digest(path),
            other_files={
                file.name: _digest(file)
                for file in sorted(folder.iterdir()) if file != path
            },
            **_describe(detector, image_input, color_order, batch_size),
            outputs=outputs,
            parity=dict(
                images=parity.images,
                equal_labels=parity.labels,
                differences=parity.differences),
            checkpoint=Path(checkpoint).name,
            versions=_versions(kind))
    write_atomically(
        out.with_name(f'{out.name}.json'),
        (json.dumps(description, indent=2) + '\n').encode())
    return description


def make_program(model: ExportableDetector,
                 batch_size: int | None) -> tuple[list[dict], Any]:
    """Trace a model.

    Args:
        model (ExportableDetector): In evaluation mode.
        batch_size (int, optional): Number of images, or None for any.

    Returns:
        tuple[list[dict], ExportedProgram]: ``name``, ``dtype`` and ``shape``
        of each output, and the graph.

    Raises:
        InputError: The method has no graph.
    """
    # With one image, an open number would be taken for a fixed one.
    size = batch_size or 2
    example = torch.zeros(size, *model.image_input.size, 3, dtype=torch.uint8)
    shapes = None
    if batch_size is None:
        shapes = dict(images={0: torch.export.Dim('batch', min=1)})
    with torch.no_grad(), _one_sentence(model.detector, 'a graph'):
        program = torch.export.export(
            model, (example, ), dynamic_shapes=shapes, strict=False)
        found = model(example)
    return [
        dict(
            name=name,
            dtype=str(value.dtype).removeprefix('torch.'),
            shape=[batch_size or 'batch', *value.shape[1:]])
        for name, value in found.items()
    ], program


@contextmanager
def _one_sentence(detector: BaseDetector, format: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    # Exporters raise errors of any kind for what they do not know.
    except Exception as error:
        raise InputError(
            f'this {type(detector).__name__} cannot be exported to {format} '
            f'({summarize_error(error)}); nothing was written. Use another '
            'format, or the checkpoint itself.') from error


@contextmanager
def _new_files(out: Path) -> Iterator[Path]:
    """Yield an empty folder, and at the end move its files beside ``out``."""
    folder = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f'.{out.name}.'))
        yield folder
        # The file of the given name last: what it refers to is there then.
        for file in sorted(
                folder.iterdir(), key=lambda file: file.name == out.name):
            os.replace(file, out.parent / file.name)
    except OSError as error:
        raise InputError(
            f'"{out}" cannot be written ({error.strerror}); free some space '
            'or choose another place.') from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _describe(detector: BaseDetector, image_input: ImageInput,
              color_order: str, batch_size: int | None) -> dict:
    rows, columns = image_input.crop
    decision = detector.decision
    thresholds = None
    if decision.is_fitted:
        image, pixel = decision.thresholds.tolist()
        thresholds = dict(image=image, pixel=pixel, **decision.conditions)
    backbone = getattr(detector, 'backbone', None)
    return dict(
        method=type(detector).__name__,
        backbone=getattr(backbone, 'name', None),
        fingerprint=detector.fingerprint(),
        input=dict(
            name='images',
            dtype='uint8',
            shape=[batch_size or 'batch', *image_input.size, 3],
            color_order=color_order),
        resize=image_input.resize,
        crop=dict(
            top=rows.start,
            left=columns.start,
            height=rows.stop - rows.start,
            width=columns.stop - columns.start),
        thresholds=thresholds)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _versions(kind: Format) -> dict[str, str]:
    used = 'mmad', 'torch', *kind.packages
    return {name: version(name) for name in _PACKAGES if name in used}
