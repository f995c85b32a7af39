# The same plates as in `padim_any-pose_demo.py`, brought upright by their true
# poses: what PaDiM would reach with a perfect alignment.
_base_ = [
    '../_base_/models/padim_resnet18.py',
    '../_base_/datasets/any_pose_demo.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer1', 'layer2', 'layer3'],
        weights='demo'))

dataset = dict(category='plate_upright')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
