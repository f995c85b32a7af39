# The ensemble at the large setting of the code of the authors: images are
# resized to 366 pixels and cropped to the central 320.
_base_ = 'patchcore_ensemble_1pct_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(366, 366), backend='pillow'),
    dict(type='CenterCrop', crop_size=320),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
