# Training by gradients, followed by a fit. The learning rate of new layers is
# a hundred times that of the backbone.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9),
    paramwise_cfg=dict(
        custom_keys={
            'ica.': dict(lr_mult=100),
            'fca.': dict(lr_mult=100),
            'fas.': dict(lr_mult=100)
        }))
param_scheduler = dict(type='CosineAnnealingLR', T_max=50)
custom_hooks = [dict(type='SyncNormHook'), dict(type='FitAfterTrainHook')]
