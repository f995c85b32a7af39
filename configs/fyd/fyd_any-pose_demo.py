# Generated plates at any angle, which `make_demo.py --any-pose` writes.
_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/any_pose_demo.py',
    '../_base_/schedules/sgd_10e.py', '../_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer1', 'layer2', 'layer3'],
        weights='demo'))

train_dataloader = dict(batch_size=8, sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
