# MVTec LOCO AD, one category: whole images, squeezed into 256 x 256. Parts may
# be missing or misplaced anywhere. Its masks are not read, so there are
# image-level metrics only.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/mvtec_loco'
category = 'breakfast_box'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='MVTecLOCO',
    data_root=data_root,
    category=category,
    pipeline=pipeline)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

val_evaluator = [dict(type='ImageMetric')]
test_evaluator = val_evaluator
