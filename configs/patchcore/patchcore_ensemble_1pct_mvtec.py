# The ensemble of the code of the authors: Wide ResNet-101-2, ResNeXt-101 and
# DenseNet-201. Scores are combined on the scale of normal images, not by the
# range of the test images.
_base_ = [
    '../_base_/models/patchcore_ensemble.py', '../_base_/datasets/mvtec_ad.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]
