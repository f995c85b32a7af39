# Ablation: alignment of the images only. The backbone is not trained.
_base_ = 'fyd_resnet18_rd-mvtec.py'

model = dict(fca=None, fas=None)
