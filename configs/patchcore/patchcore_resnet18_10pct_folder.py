# Your own images. Set the folders here, or inherit from this file.
_base_ = [
    '../_base_/models/patchcore_resnet18.py', '../_base_/datasets/folder.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

model = dict(coreset_ratio=0.1)
