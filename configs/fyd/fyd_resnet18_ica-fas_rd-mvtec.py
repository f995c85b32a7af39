# Ablation: without the transformers of the stages.
_base_ = 'fyd_resnet18_rd-mvtec.py'

model = dict(fca=None)
