# One category of MVTec AD. Images are resized to 256 pixels and cropped to the
# central 224, as in SPADE, PaDiM and PatchCore.
data_root = '{{$MMAD_DATA:data}}/mvtec_ad'
category = 'bottle'

# Pillow's bilinear filter is anti-aliased, like torchvision's Resize.
pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MVTecAD',
        data_root=data_root,
        category=category,
        split='train',
        pipeline=pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MVTecAD',
        data_root=data_root,
        category=category,
        split='test',
        pipeline=pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric', fpr_limit=0.3, resolution='input'),
]
test_evaluator = val_evaluator
