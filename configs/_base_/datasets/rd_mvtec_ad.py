# Rd-MVTec of the PaDiM paper, in which objects are not aligned: each training
# and test image of MVTec AD is rotated and cropped at random.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/mvtec_ad'
category = 'bottle'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='RandomPose', angle=10, crop_size=224, seed=0),
    dict(type='PackInputs'),
]
dataset = dict(
    type='MVTecAD', data_root=data_root, category=category, pipeline=pipeline)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
