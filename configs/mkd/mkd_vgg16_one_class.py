# MNIST or Fashion-MNIST with one normal class. Images are resized to 32
# pixels, since 28 pixels are too few for five pooling layers.
_base_ = [
    '../_base_/models/mkd_vgg16.py', '../_base_/datasets/one_class.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

pipeline = [
    dict(type='Resize', scale=(32, 32), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64, sampler=dict(shuffle=True), dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

train_cfg = dict(max_epochs=50, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
