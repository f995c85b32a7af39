# MPDD, one category: whole images, squeezed into 256 x 256. The parts lie
# anywhere in the image.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/mpdd'
category = 'bracket_black'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='MPDD',
    data_root=data_root,
    category=category,
    pipeline=pipeline)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
