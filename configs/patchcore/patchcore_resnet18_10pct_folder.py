# Your own images: name their folders with --normal-dir and the like, or in a
# config that inherits from this one.
_base_ = [
    '../_base_/models/patchcore_resnet18.py', '../_base_/datasets/folder.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

model = dict(coreset_ratio=0.1)
