# Ablation: fine alignment only, without a transformer.
_base_ = 'fyd_resnet18_rd-mvtec.py'

model = dict(ica=None, fca=None)
