_base_ = 'padim_resnet18_mvtec.py'

model = dict(backbone=dict(name='wide_resnet50_2'), dim=550)
