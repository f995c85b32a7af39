_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(backbone=dict(name='wide_resnet50_2'))
