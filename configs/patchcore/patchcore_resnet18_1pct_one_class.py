# MNIST; docs/data.md explains how to use another data set.
_base_ = [
    '../_base_/models/patchcore_resnet18.py',
    '../_base_/datasets/one_class.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]
