# As mvtec_ad.py, but resized by Lanczos' filter, as in the reference codes of
# SPADE (byungjae89/SPADE-pytorch) and PaDiM (xiahaifeng1995's).
_base_ = 'mvtec_ad.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(
        type='Resize',
        scale=(256, 256),
        backend='pillow',
        interpolation='lanczos'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
