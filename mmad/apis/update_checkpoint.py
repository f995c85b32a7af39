import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config

from mmad.datasets.files import list_images
from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.utils import load_checkpoint, write_atomically
from mmad.utils.arguments import check_number
from mmad.utils.packed_names import pack_names

from .fitted_images import KEY, find_fitted, find_forgotten, read_names
from .model import init_model
from .model_updater import ModelUpdater
from .recalibration import Calibration, decide, read_decision, score_all


class CheckpointUpdate(NamedTuple):
    """What :func:`update_checkpoint` has changed.

    Attributes:
        checkpoint (Path): The new checkpoint.
        num_before (int): Number of images that were fitted.
        num_fitted (int): And that are now.
        added (list[Path]): New images, the oddest first if there are scores.
        scores (list[float]): Their scores, each left out of the fit; empty
            without thresholds.
        known (list[Path]): Images that had been fitted already.
        forgotten (list[str]): Paths of the images taken out.
        before (Calibration | None): Of the decision; None without thresholds.
        after (Calibration | None): And now.
    """
    checkpoint: Path
    num_before: int
    num_fitted: int
    added: list[Path]
    scores: list[float]
    known: list[Path]
    forgotten: list[str]
    before: Calibration | None
    after: Calibration | None


def update_checkpoint(checkpoint: str | Path,
                      folder: str | Path | None = None,
                      forget: Sequence[str | Path] = (),
                      calibrate: str | Path | None = None,
                      false_alarm_rate: float | None = None,
                      out: str | Path | None = None,
                      config: str | Path | Config | None = None,
                      device: str | torch.device | None = None,
                      modules: str | Sequence[str] = (),
                      batch_size: int = 8) -> CheckpointUpdate:
    """Take images into the fit of a checkpoint, and out of it.

    The new checkpoint is written as a whole or not at all. The old one stays
    as it is, unless ``out`` names it.

    Args:
        checkpoint (str | Path): Checkpoint of a fitted detector.
        folder (str | Path, optional): Folder of normal images, also in deeper
            folders. Those that were fitted already are left alone. Defaults
            to None.
        forget (Sequence[str | Path]): Paths of fitted images to be taken
            out, or the last parts of these paths. Defaults to none.
        calibrate (str | Path, optional): Folder of normal images that the
            thresholds are found from anew. Those in the fit are left out of
            it. Defaults to None: the scores of the checkpoint and of the new
            images, each left out.
        false_alarm_rate (float, optional): Wanted share of normal images
            above the threshold. Defaults to None: the one that the fit was
            asked for.
        out (str | Path, optional): New checkpoint. Defaults to None: beside
            the old one, with the number of images in its name.
        config (str | Path | Config, optional): As in
            :func:`~mmad.apis.init_model`. Defaults to None.
        device (str | torch.device, optional): As there. Defaults to None.
        modules (str | Sequence[str]): As there. Defaults to none.
        batch_size (int): Images at a time. Defaults to 8.

    Returns:
        CheckpointUpdate: What has changed.

    Raises:
        InputError: There is nothing to do, an image or the checkpoint cannot
            be used, or the detector cannot do it.
    """
    check_number(
        'false_alarm_rate', false_alarm_rate, above=0, below=1, optional=True)
    images, others = _list(folder), _list(calibrate)
    state = load_checkpoint(checkpoint, map_location='cpu')
    model = init_model(checkpoint, config, device, modules)
    updater = ModelUpdater(model, batch_size)
    num_before = updater.model.num_fitted
    names = read_names(state, num_before)
    is_known = [number is not None for number in find_fitted(images, names)]
    added = [path for path, known in zip(images, is_known) if not known]
    ids = find_forgotten(forget, names) if forget else []
    if not added and not ids:
        raise InputError('there is nothing to do' + (
            f': all images of "{folder}" were fitted already; name a folder '
            'with others.' if images else '; name a folder, or --forget.'))
    forgotten = [names[i] for i in ids]
    files = []
    if updater.needs_files:
        files = [_file_of(name, forget, model) for name in forgotten]

    before = read_decision(model.decision)
    updater.update(added, ids, files)
    kept = num_before - len(ids)
    if names:
        gone = set(ids)
        names = [name for i, name in enumerate(names) if i not in gone]
        names += [os.path.abspath(path) for path in added]
    scores: list[float] = []
    if before is not None or calibrate is not None:
        numbers = range(kept, kept + len(added))
        new, peaks = updater.score(added, numbers)
        order = new.argsort(descending=True).tolist()
        scores, added = new[order].tolist(), [added[i] for i in order]
        if calibrate is not None:
            after = score_all(updater, others, names, before)
        elif before is not None:
            after = before.without(ids).with_images(numbers, new, peaks)
        decide(model.decision, after, false_alarm_rate)
    updater.model.end_calibration()
    path = _new_path(Path(checkpoint), out, model)
    _write(path, state, model, names)
    return CheckpointUpdate(path, num_before, updater.model.num_fitted, added,
                            scores,
                            [p for p, known in zip(images, is_known) if known],
                            forgotten, before, read_decision(model.decision))


def _list(folder: str | Path | None) -> list[Path]:
    if folder is None:
        return []
    found = list_images(folder, recursive=True)
    if not found:
        raise InputError(f'the folder "{folder}" is missing or holds no '
                         'images; name another folder.')
    return found


def _file_of(name: str, given: Sequence[str | Path],
             model: BaseDetector) -> str:
    """Find the file of a fitted image, or the copy of it that was given."""
    for path in [name, *map(str, given)]:
        if os.path.basename(path) == os.path.basename(name) and os.path.isfile(
                path):
            return path
    raise InputError(
        f'image "{name}" is not there any more, and a {type(model).__name__} '
        'needs it to forget it; put it back, or fit again without it.')


def _new_path(checkpoint: Path, out: str | Path | None,
              model: BaseDetector) -> Path:
    if out is not None:
        return Path(out)
    stem = re.sub(r'_\d+images$', '', checkpoint.stem)
    return checkpoint.with_name(
        f'{stem}_{model.num_fitted}images{checkpoint.suffix}')


def _write(path: Path, state: Mapping, model: BaseDetector,
           names: list[str]) -> None:
    meta = {k: v for k, v in state.get('meta', {}).items() if k != KEY}
    if names:
        meta[KEY] = pack_names(names)
    tensors = {name: one.cpu() for name, one in model.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(dict(state, meta=meta, state_dict=tensors), buffer)
    write_atomically(path, buffer.getbuffer())
