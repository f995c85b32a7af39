# The published protocol for CIFAR-10: the loss of the authors' code, and the
# mean over the checkpoints of every tenth epoch after convergence. They do not
# say where that is; we take the last hundred of 200 epochs, of which the code
# has 201.
_base_ = [
    '../_base_/models/mkd_vgg16.py', '../_base_/datasets/cifar10_224.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    loss_weight=0.01,
    weighted_loss='value')

train_cfg = dict(max_epochs=200, val_interval=50)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=10))
test_cfg = dict(type='CheckpointMeanLoop', num_checkpoints=10)
