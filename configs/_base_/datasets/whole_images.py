# Data loaders and evaluators for data sets that are not cropped. Images of any
# size and shape are resized to 256 x 256 pixels.

# Pillow's bilinear filter is anti-aliased, like torchvision's Resize.
pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='train', pipeline=pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', pipeline=pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric', fpr_limit=0.3, resolution='input'),
]
test_evaluator = val_evaluator
