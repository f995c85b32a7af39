# Your own images: name their folders with --normal-dir and the like, or in a
# config that inherits from this one. First train the teacher, once for all
# parts, with teacher_p33_small and --data-root PHOTOGRAPHS. A fifth of the
# good images is kept from the training, to find the threshold.
_base_ = [
    '../_base_/models/uninformed_students.py', '../_base_/datasets/folder.py',
    '../_base_/schedules/adam_students.py', '../_base_/default_runtime.py'
]

model = dict(scales=[
    dict(
        network=dict(
            type='PatchNetwork', patch_size=33, width=0.25, out_channels=64),
        teacher='work_dirs/teacher_p33_small/epoch_4.pth')
])

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(128, 128), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=1, sampler=dict(shuffle=True), dataset=dict(pipeline=pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(
    calibration=dict(method='held_out'),
    checkpoint=dict(interval=5, max_keep_ckpts=2))
