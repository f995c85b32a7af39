# BTAD, one product: whole images, squeezed into 256 x 256. The products differ
# in size and shape, and 02 is a surface.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/btad'
category = '01'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='BTAD',
    data_root=data_root,
    category=category,
    pipeline=pipeline)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
