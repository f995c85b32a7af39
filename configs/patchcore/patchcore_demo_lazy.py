# patchcore_demo.py as a pure-Python config of MMEngine. Bases are imported,
# and each type is a class, so an editor can complete names and find them.
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.model import ImgDataPreprocessor

from mmad.datasets import AnomalyDataset
from mmad.datasets.transforms import (
    CenterCrop,
    LoadImage,
    LoadMask,
    PackInputs,
    Resize,
)
from mmad.engine.hooks import CalibrationHook
from mmad.evaluation import ImageMetric, PixelMetric
from mmad.models import DemoBackbone, PatchCore

with read_base():
    from .._base_.default_runtime import *
    from .._base_.schedules.fit_once import *

model = dict(
    type=PatchCore,
    data_preprocessor=dict(
        type=ImgDataPreprocessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type=DemoBackbone, stages=['layer2', 'layer3'], weights='demo'),
    coreset_ratio=0.1,
    num_neighbors=9)

pipeline = [
    dict(type=LoadImage),
    dict(type=LoadMask),
    dict(type=Resize, scale=(256, 256), backend='pillow'),
    dict(type=CenterCrop, crop_size=224),
    dict(type=PackInputs),
]
dataset = dict(
    type=AnomalyDataset,
    data_root='{{$MMAD_DATA:data}}/demo',
    category='plate',
    pipeline=pipeline)
loader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False))
train_dataloader = dict(loader, dataset=dict(dataset, split='train'))
val_dataloader = dict(loader, dataset=dict(dataset, split='test'))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type=ImageMetric),
    dict(type=PixelMetric, fpr_limit=0.3, resolution='input'),
]
test_evaluator = val_evaluator

# So few images cannot tell a false-alarm rate of 1 %.
default_hooks.update(
    calibration=dict(type=CalibrationHook, false_alarm_rate=0.05))
