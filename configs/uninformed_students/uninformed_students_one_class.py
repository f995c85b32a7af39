# One class of MNIST or Fashion-MNIST is normal. The paper has results on MNIST
# and CIFAR-10; we do not know its sizes, schedule and score there, so these
# are ours. At 32 pixels, the patch of 33 around the center is the whole image,
# and that of 17 about a quarter of it. Another class differs everywhere, so
# the score is the mean of the map. A step takes 64 of the thousands of images.
_base_ = [
    '../_base_/models/uninformed_students.py',
    '../_base_/datasets/one_class.py', '../_base_/schedules/adam_students.py',
    '../_base_/default_runtime.py'
]

model = dict(
    scales=[
        dict(
            network=dict(type='PatchNetwork', patch_size=17),
            teacher='work_dirs/teacher_p17/epoch_50.pth'),
        dict(
            network=dict(type='PatchNetwork', patch_size=33),
            teacher='work_dirs/teacher_p33/epoch_50.pth'),
    ],
    image_score='mean')

pipeline = [
    dict(type='Resize', scale=(32, 32), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64, sampler=dict(shuffle=True), dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

# Keep two, since an old checkpoint is removed before a new one is written.
default_hooks = dict(checkpoint=dict(interval=20, max_keep_ckpts=2))
