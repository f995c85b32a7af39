# The setting of the paper.
_base_ = 'spade_resnet18_mvtec.py'

model = dict(backbone=dict(name='wide_resnet50_2'))
