_base_ = [
    '../_base_/models/patch_teacher.py',
    '../_base_/datasets/natural_images.py',
    '../_base_/schedules/adam_teacher.py', '../_base_/default_runtime.py'
]

model = dict(network=dict(patch_size=65))

pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomPatch', patch_size=65),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))

# Keep two, since an old checkpoint is removed before a new one is written.
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
