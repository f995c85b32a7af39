_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/mvtec_ad.py',
    '../_base_/schedules/sgd_50e.py', '../_base_/default_runtime.py'
]

train_dataloader = dict(sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
