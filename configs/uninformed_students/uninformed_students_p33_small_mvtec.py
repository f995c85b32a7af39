# For a CPU: one scale, few channels, images of 128 pixels, few epochs.
_base_ = 'uninformed_students_mvtec.py'

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
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=4, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
