# Your own large images at full resolution, tile by tile. A Gaussian at each
# position of stride 8 takes memory; see docs/high_resolution.md.
_base_ = [
    '../_base_/models/padim_resnet18.py', '../_base_/datasets/large_folder.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        stages=['layer2', 'layer3'], tiles=dict(size=512, overlap=128)),
    dim=50)
