# Ablation: without the transformer of the images.
_base_ = 'fyd_resnet18_rd-mvtec.py'

model = dict(ica=None)
