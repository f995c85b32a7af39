# One class of a classification data set (MNIST, FashionMNIST, CIFAR10 or
# digits) is normal, the others are anomalous. There are no masks, so there are
# only image-level metrics.
data_root = '{{$MMAD_DATA:data}}/torchvision'
name = 'MNIST'
category = '0'

# The memory bank of 6,000 images at 224 pixels would be too large.
pipeline = [
    dict(type='Resize', scale=(64, 64), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='OneClassDataset',
        name=name,
        data_root=data_root,
        category=category,
        split='train',
        download=False,
        pipeline=pipeline))
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='OneClassDataset',
        name=name,
        data_root=data_root,
        category=category,
        split='test',
        download=False,
        pipeline=pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='ImageMetric')]
test_evaluator = val_evaluator
