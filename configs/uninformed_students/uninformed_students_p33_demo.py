# Runs on any machine: generated images of 128 pixels, one scale, few channels.
_base_ = [
    '../_base_/models/uninformed_students.py',
    '../_base_/datasets/mvtec_ad.py', '../_base_/schedules/adam_students.py',
    '../_base_/default_runtime.py'
]

model = dict(scales=[
    dict(
        network=dict(
            type='PatchNetwork', patch_size=33, width=0.125, out_channels=32),
        teacher='work_dirs/teacher_p33_demo/epoch_5.pth')
])

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(128, 128), backend='pillow'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='AnomalyDataset',
    data_root='{{$MMAD_DATA:data}}/demo',
    category='plate',
    pipeline=pipeline)
train_dataloader = dict(
    batch_size=1, sampler=dict(shuffle=True), dataset=dataset)
val_dataloader = dict(batch_size=1, dataset=dataset)
test_dataloader = dict(batch_size=1, dataset=dataset)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(
    calibration=dict(method='held_out'),
    checkpoint=dict(interval=5, max_keep_ckpts=2))
