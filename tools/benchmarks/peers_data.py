"""The images and weights that all peers of ``peers.py`` get."""
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torchvision.models import resnet18

from mmad.datasets.demo import generate_demo
from mmad.errors import InputError
from mmad.registry import DATASETS, MODELS

PREPROCESSOR = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


def prepare_data(folder: Path,
                 root: Path | None,
                 category: str | None,
                 size: int,
                 train_images: int | None = None,
                 test_images: int | None = None) -> str:
    """Write the images as normalized tensors, and the masks.

    Images are resized and cropped as for MVTec AD: the central 7/8.

    Args:
        folder (Path): Gets ``train.npy`` and ``test.npy``, (N, 3, H, W)
            float32, ``masks.npy``, (N, H, W) bool, and ``types.json``, the
            defect type of each test image.
        root (Path, optional): Folder in the layout of MVTec AD; None for
            the generated plates.
        category (str, optional): Folder in it.
        size (int): Side of the tensors in pixels.
        train_images (int, optional): Use only so many. Defaults to None.
        test_images (int, optional): Alike. Defaults to None.

    Returns:
        str: Name of the data.
    """
    init_default_scope('mmad')
    name = 'plates' if root is None else category or root.resolve().name
    if root is None:
        root, category = folder / 'plates', 'plate'
        generate_demo(root, category)
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(
            type='Resize', scale=(round(size * 8 / 7), ) * 2,
            backend='pillow'),
        dict(type='CenterCrop', crop_size=size),
        dict(type='PackInputs'),
    ]
    preprocess = MODELS.build(PREPROCESSOR)
    for split, most in (('train', train_images), ('test', test_images)):
        data = DATASETS.build(
            dict(
                type='AnomalyDataset',
                data_root=str(root),
                category=category,
                split=split,
                pipeline=pipeline))
        # Evenly, so that all defect types are among them.
        number = min(most or len(data), len(data))
        chosen = np.linspace(0, len(data) - 1, number).round().astype(int)
        samples = [data[index] for index in chosen.tolist()]
        images = [
            preprocess(dict(inputs=[sample['inputs']],
                            data_samples=None))['inputs'] for sample in samples
        ]
        np.save(folder / f'{split}.npy', torch.cat(images).numpy())
    found = [sample['data_samples'] for sample in samples]
    types = [sample.defect_type for sample in found]
    masks = np.stack([sample.gt_mask.numpy() for sample in found])
    if not masks.any() or 'good' not in types:
        raise InputError(
            f'the test images of "{root}/{category or ""}" have no masks, or '
            'none of them is normal; metrics need both.')
    np.save(folder / 'masks.npy', masks)
    (folder / 'types.json').write_text(json.dumps(types))
    return name


def prepare_weights(file: Path | None, folder: Path) -> Path:
    """Return a file with weights of ResNet-18.

    Without one, weights are drawn at random, the same in each run.
    """
    if file is not None:
        if not file.is_file():
            raise InputError(f'the weights "{file}" are not a file; name the '
                             'state dict of a ResNet-18 of torchvision.')
        return file.resolve()
    torch.manual_seed(0)
    target = folder / 'random_resnet18.pth'
    torch.save(resnet18(weights=None).state_dict(), target)
    return target
