# Ablation: without the transformer of the images.
_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/rd_mvtec_ad.py',
    '../_base_/schedules/sgd_6e.py', '../_base_/default_runtime.py'
]

model = dict(ica=None)
train_dataloader = dict(batch_size=16, sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(interval=6, max_keep_ckpts=1))
