"""Configs of each method at a size that takes little time."""
from pathlib import Path

import mmengine.config.config

ROOT = Path(__file__).resolve().parents[1]


def leave_configs_unformatted():
    """Write configs as they come, for which formatting takes most of the time
    of a small run. What is no Python is still refused."""

    def check(text, **kwargs):
        compile(text, 'config', 'exec')
        return text, True

    mmengine.config.config.FormatCode = check


PATCHCORE_CONFIG = """
_base_ = '{root}/configs/patchcore/patchcore_resnet18_10pct_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(60, 52), backend='pillow'),
    dict(type='CenterCrop', crop_size=48),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset', data_root='{data}', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader

model = dict(backbone=dict(weights=None), num_neighbors=3, sigma=2.0)
"""

MKD_CONFIG = """
_base_ = '{root}/configs/mkd/mkd_resnet18_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset', data_root='{data}', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader

model = dict(backbone=dict(weights=None), sigma=2.0)
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""

FYD_CONFIG = """
_base_ = '{root}/configs/fyd/fyd_demo.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset',
        data_root='{data}',
        category='bottle',
        pipeline=pipeline))
train_dataloader = loader
# One by one, so that no image is rounded by how many there are.
val_dataloader = test_dataloader = dict(loader, batch_size=1)

model = dict(
    pose_search=dict(side=16),
    ica=dict(grid=2),
    fca=dict(grid=2),
    fas=dict(stages=['layer3']),
    dim=8,
    sigma=2.0)
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = dict(T_max=4)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""

STUDENTS_CONFIG = """
_base_ = '{root}/configs/uninformed_students/uninformed_students_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset', data_root='{data}', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader
custom_hooks = [
    dict(type='TeacherStatisticsHook'),
    dict(type='StudentStatisticsHook', share=0.3),
]

network = dict(type='PatchNetwork', width=0.02, out_channels=4)
model = dict(num_students=2, scales=[
    dict(network=dict(network, patch_size=17), teacher='{teachers[17]}'),
    dict(network=dict(network, patch_size=33), teacher='{teachers[33]}'),
])
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""

SMALLEST = dict(
    config={'model.backbone': dict(_delete_=True, type='TinyBackbone')},
    mkd_config={
        'model.backbone':
        dict(_delete_=True, type='TinyBackbone'),
        'model.cloner':
        dict(
            _delete_=True,
            type='Cloner',
            widths=((6, 6), (6, 6), (6, 10)),
            points=(1, 2)),
        'model.test_points':
        None,
        'train_cfg.max_epochs':
        2,
        'train_cfg.val_interval':
        1,
        'default_hooks.checkpoint.interval':
        1
    })

# Methods in place of that of another config.
PADIM = """
_base_ = '{base}'
model = dict(
    _delete_=True,
    type='PaDiM',
    data_preprocessor={{{{_base_.model.data_preprocessor}}}},
    backbone=dict(
        type='TorchvisionBackbone', name='resnet18',
        stages=['layer1', 'layer2'], weights=None),
    reduction='pca',
    dim=8,
    sigma=2.0)
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""

SPADE = """
_base_ = '{base}'
model = dict(
    _delete_=True,
    type='SPADE',
    data_preprocessor={{{{_base_.model.data_preprocessor}}}},
    backbone=dict(
        type='TorchvisionResNet', name='resnet18',
        stages=['layer1', 'layer2'], weights=None),
    pyramid_stages=['layer1', 'layer2'],
    image_stage='layer2',
    num_neighbors=3)
"""
