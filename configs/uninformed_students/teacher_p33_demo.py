# Runs on any machine: few channels, few steps, and the backbone of mmad.
_base_ = 'teacher_p33.py'

model = dict(
    network=dict(width=0.125, out_channels=32),
    backbone=dict(
        _delete_=True, type='DemoBackbone', stages=['layer3'], weights='demo'))
train_dataloader = dict(dataset=dict(length=6400))
train_cfg = dict(max_epochs=5)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
