# Generated plates at any angle, which `make_demo.py --any-pose` writes.
_base_ = [
    '../_base_/models/patchcore_resnet18.py',
    '../_base_/datasets/any_pose_demo.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]

model = dict(
    coreset_ratio=0.1,
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer2', 'layer3'],
        weights='demo'))
