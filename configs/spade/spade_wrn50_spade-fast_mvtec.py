# The setting of any-tech/SPADE-fast: a search in each stage by itself, and
# OpenCV's area filter. Its results are for `num_neighbors` of 3, 5 and 50.
_base_ = 'spade_resnet18_mvtec.py'

model = dict(
    backbone=dict(name='wide_resnet50_2'), num_neighbors=5, fusion='per_level')

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), interpolation='area'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
