# Rd-MVTec, the MVTec AD of the PaDiM paper whose parts are not aligned: each
# image, to train and to test with, is rotated and cropped at random.
_base_ = 'mvtec_ad.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='RandomPose', angle=10, crop_size=224, seed=0),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
