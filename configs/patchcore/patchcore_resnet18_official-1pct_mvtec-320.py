# The command of the authors' code for larger images, IM320 in
# sample_training.sh of
# https://github.com/amazon-science/patchcore-inspection, with ResNet-18.
_base_ = [
    '../_base_/models/patchcore_resnet18.py',
    '../_base_/datasets/mvtec_ad-320.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]

model = dict(patch_features=dict(embedding='official'), num_neighbors=1)
