# For a teacher of Uninformed Students: 50,000 steps, in 50 epochs of 1,000
# steps, so that a resumed run need not skip images that it has read before.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50)
val_cfg = None
test_cfg = None
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=2e-4, weight_decay=1e-5))
custom_hooks = []
