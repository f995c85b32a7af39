# CIFAR-10 with one normal class. As in the code of the authors, images are
# resized to 224 pixels and normalized for ImageNet.
_base_ = 'mkd_vgg16_one_class.py'

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]))

pipeline = [
    dict(
        type='Resize',
        scale=(256, 256),
        backend='pillow',
        interpolation='lanczos'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
dataset = dict(name='CIFAR10', pipeline=pipeline)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(batch_size=32, dataset=dataset)
test_dataloader = dict(batch_size=32, dataset=dataset)

train_cfg = dict(max_epochs=200, val_interval=50)
default_hooks = dict(checkpoint=dict(interval=50))
