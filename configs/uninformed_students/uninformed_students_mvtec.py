_base_ = [
    '../_base_/models/uninformed_students.py',
    '../_base_/datasets/mvtec_ad.py', '../_base_/schedules/adam_students.py',
    '../_base_/default_runtime.py'
]

# One whole image per step; a tenth of the images is held out for calibration.
pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=1, sampler=dict(shuffle=True), dataset=dict(pipeline=pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))

# Keep two, since an old checkpoint is removed before a new one is written.
default_hooks = dict(checkpoint=dict(interval=20, max_keep_ckpts=2))
