# Your own images: name their folders with --normal-dir and the like, or in a
# config that inherits from this one. A fifth of the good images is kept from
# the training, to find the threshold.
_base_ = [
    '../_base_/models/mkd_resnet18.py', '../_base_/datasets/folder.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(128, 128), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=16, sampler=dict(shuffle=True), dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

train_cfg = dict(max_epochs=70, val_interval=70)
default_hooks = dict(
    calibration=dict(method='held_out'),
    checkpoint=dict(interval=10, max_keep_ckpts=2))
