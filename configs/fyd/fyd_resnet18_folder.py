# Your own images: name their folders with --normal-dir and the like, or in a
# config that inherits from this one.
_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/folder.py',
    '../_base_/schedules/sgd_10e.py', '../_base_/default_runtime.py'
]

train_dataloader = dict(batch_size=8, sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
