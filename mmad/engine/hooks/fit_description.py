import hashlib
import json
import os
from pathlib import Path

import torch
from mmengine.runner import Runner

from mmad.models import FitDetector
from mmad.models.layers import FittedModule
from mmad.models.layers.processes import world_size
from mmad.version import __version__

from .hook_utils import get_detector

# Of a data loader, what changes nothing in the images.
_WORKERS = ('num_workers', 'persistent_workers', 'pin_memory',
            'prefetch_factor')
_PLAIN = str | int | float | bool | list | tuple | None


def describe_fit(runner: Runner) -> dict:
    """Describe all that a fit depends on, to tell its notes from others.

    Args:
        runner (Runner): Runner with a :class:`~mmad.models.FitDetector` that
            is about to be fitted, in its first pass or a later one.

    Returns:
        dict: What can be written as JSON: versions, processes, the settings
        of each part of the model, digests of the weights and the images.
    """
    detector = get_detector(runner)
    loader = runner.cfg.get('train_dataloader') or {}
    sampler = runner.train_loop.dataloader.sampler
    found = dict(
        fingerprint=detector.fingerprint(),
        mmad=__version__,
        torch=torch.__version__,
        device=next((p.device.type for p in detector.parameters()), 'cpu'),
        processes=world_size(),
        batch_size=runner.train_loop.dataloader.batch_size,
        # The order in which images come.
        seed=runner.seed if getattr(sampler, 'shuffle', False) else None,
        images=_digest_images(runner),
        weights=_digest_weights(detector),
        train_dataloader={
            key: value
            for key, value in loader.items() if key not in _WORKERS
        },
        **_settings(detector))
    return json.loads(json.dumps(found, default=str))


def image_paths(runner: Runner) -> list[str]:
    """Paths of the training images; none if the data set does not say."""
    dataset = runner.train_loop.dataloader.dataset
    if not hasattr(dataset, 'get_data_info'):
        return []
    names = [
        dataset.get_data_info(i).get('img_path') for i in range(len(dataset))
    ]
    if not all(isinstance(name, str) for name in names):
        return []
    return [name if '://' in name else os.path.abspath(name) for name in names]


def _digest_images(runner: Runner) -> str:
    digest = hashlib.sha256()
    digest.update(f'{len(runner.train_loop.dataloader.dataset)}\n'.encode())
    for path in image_paths(runner):
        size = Path(path).stat().st_size if os.path.isfile(path) else None
        digest.update(f'{path} {size}\n'.encode(errors='surrogateescape'))
    return digest.hexdigest()


def _digest_weights(detector: FitDetector) -> str:
    """Digest all that is not fitted."""
    digest = hashlib.sha256()
    for member in detector.combined or [detector]:
        for child in member.children():
            if isinstance(child, FittedModule):
                continue
            for key, value in child.state_dict().items():
                digest.update(f'{key} {value.dtype} {value.shape}'.encode())
                content = value.detach().cpu().contiguous().flatten()
                digest.update(content.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings(detector: FitDetector) -> dict:
    return {
        f'{name}.{key}': value
        for name, module in detector.named_modules()
        for key, value in vars(module).items() if isinstance(value, _PLAIN)
        and not key.startswith('_') and key not in ('training', 'passes_done')
    }
