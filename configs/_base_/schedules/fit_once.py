# One pass over the normal images, then a fit in closed form: no optimizer.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict()
custom_hooks = [dict(type='FitHook')]
# PyTorch's wrapper refuses a model without a trainable parameter.
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
