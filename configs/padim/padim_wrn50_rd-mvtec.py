_base_ = [
    '../_base_/models/padim_resnet18.py', '../_base_/datasets/rd_mvtec_ad.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

model = dict(backbone=dict(name='wide_resnet50_2'), dim=550)
