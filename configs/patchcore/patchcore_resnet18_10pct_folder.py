# Your own pictures: name the folders here, or inherit from this file.
_base_ = [
    '../_base_/datasets/folder.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]

model = dict(
    type='PatchCore',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type='TorchvisionBackbone',
        name='resnet18',
        stages=['layer2', 'layer3'],
        weights='IMAGENET1K_V1'),
    coreset_ratio=0.1,
    num_neighbours=9)
