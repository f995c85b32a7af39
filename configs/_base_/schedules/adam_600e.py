# Training by gradients with Adam at a constant learning rate. Each process
# trains with one batch per step.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=600, val_interval=50)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
custom_hooks = [dict(type='SyncNormHook')]
