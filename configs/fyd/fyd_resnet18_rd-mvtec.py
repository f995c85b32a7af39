# The schedule of fyd_resnet18_6e_mvtec.py, on parts that are not aligned.
_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/rd_mvtec_ad.py',
    '../_base_/schedules/sgd_50e.py', '../_base_/default_runtime.py'
]

train_dataloader = dict(batch_size=16, sampler=dict(shuffle=True))
train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = dict(T_max=6)
default_hooks = dict(checkpoint=dict(interval=6, max_keep_ckpts=1))
