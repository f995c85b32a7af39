# All 448 channels, as the code by the group of RegAD keeps them.
_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/mvtec_ad.py',
    '../_base_/schedules/sgd_10e.py', '../_base_/default_runtime.py'
]

model = dict(reduction='none', dim=None)
train_dataloader = dict(batch_size=8, sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
