# A short schedule with small batches, for a CPU.
_base_ = 'sgd_50e.py'

train_cfg = dict(max_epochs=10, val_interval=10)
param_scheduler = dict(T_max=10)
