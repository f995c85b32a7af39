# Magnetic tiles: whole images, squeezed into 256 x 256, since they differ in
# size and shape. Many defects lie at the border. There are no categories.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/magnetic_tile'
category = None

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='MagneticTile',
    data_root=data_root,
    category=category,
    pipeline=pipeline)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
