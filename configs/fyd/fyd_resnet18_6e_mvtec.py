# For a CPU: small batches, so that few epochs are enough.
_base_ = 'fyd_resnet18_mvtec.py'

train_dataloader = dict(batch_size=16)
train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = dict(T_max=6)
default_hooks = dict(checkpoint=dict(interval=6))
