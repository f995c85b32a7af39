# Needs no download: the data are the digits of scikit-learn, and the backbone
# is part of mmad.
_base_ = 'patchcore_resnet18_1pct_one_class.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer2', 'layer3'],
        weights='demo'))

dataset = dict(name='digits')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
