# As sgd_50e.py, but short: for a CPU, with small batches.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=3)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9),
    paramwise_cfg=dict(custom_keys={'ica.': dict(lr_mult=100)}))
param_scheduler = dict(type='CosineAnnealingLR', T_max=3)
custom_hooks = [dict(type='SyncNormHook'), dict(type='FitAfterTrainHook')]
