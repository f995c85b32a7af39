# Rd-MVTec of the PaDiM paper, in which objects are not aligned: each training
# and test image of MVTec AD is rotated and cropped at random.
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
