# For a CPU: with small batches, few epochs are enough.
_base_ = [
    '../_base_/models/mkd_resnet18.py', '../_base_/datasets/mvtec_ad_128.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

train_dataloader = dict(batch_size=16)
train_cfg = dict(max_epochs=70, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
