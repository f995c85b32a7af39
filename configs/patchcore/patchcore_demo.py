# Needs no download: the data are generated, and the backbone is part of mmad.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(
    coreset_ratio=0.1,
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer2', 'layer3'],
        weights='demo'))

dataset = dict(
    type='AnomalyDataset',
    data_root='{{$MMAD_DATA:data}}/demo',
    category='plate')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

# So few images cannot tell a false-alarm rate of 1 %.
default_hooks = dict(calibration=dict(false_alarm_rate=0.05))
