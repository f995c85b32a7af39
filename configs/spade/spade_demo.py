# Needs no download: the data are generated, and the backbone is part of mmad.
_base_ = 'spade_resnet18_mvtec.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer1', 'layer2', 'layer3'],
        weights='demo'),
    image_stage='layer3')

dataset = dict(
    type='AnomalyDataset',
    data_root='{{$MMAD_DATA:data}}/demo',
    category='plate')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

# So few images cannot tell a false-alarm rate of 1 %.
default_hooks = dict(calibration=dict(false_alarm_rate=0.05))
