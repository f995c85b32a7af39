# One pass over the normal images and a fit in closed form, without an
# optimizer.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict()
custom_hooks = [dict(type='FitHook')]
# The wrapper of PyTorch refuses a model without trainable parameters.
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
