# Needs no download: the data are generated, and the backbone is part of mmad.
_base_ = [
    '../_base_/models/mkd_resnet18.py', '../_base_/datasets/mvtec_ad_128.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer1', 'layer2', 'layer3'],
        weights='demo'),
    cloner=dict(widths=[[16, 16], [16, 32], [16, 16, 64], [16, 16, 128]]))

dataset = dict(
    type='AnomalyDataset',
    data_root='{{$MMAD_DATA:data}}/demo',
    category='plate')
train_dataloader = dict(batch_size=16, dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

train_cfg = dict(max_epochs=100, val_interval=20)
default_hooks = dict(
    calibration=dict(method='held_out'),
    checkpoint=dict(interval=20, max_keep_ckpts=2))
