# CIFAR-10 with one normal class, as in the code of MKD: images are enlarged to
# 256 pixels and cropped to the central 224.
_base_ = 'one_class.py'

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
train_dataloader = dict(
    batch_size=64, sampler=dict(shuffle=True), dataset=dataset)
val_dataloader = dict(batch_size=32, dataset=dataset)
test_dataloader = dict(batch_size=32, dataset=dataset)
