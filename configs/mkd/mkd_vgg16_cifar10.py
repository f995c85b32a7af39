# CIFAR-10 with one normal class. As in the code of the authors, images are
# resized to 224 pixels and normalized for ImageNet.
_base_ = [
    '../_base_/models/mkd_vgg16.py', '../_base_/datasets/cifar10_224.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]))

train_cfg = dict(max_epochs=200, val_interval=50)
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=2))
