# The published protocol for CIFAR-10: the loss of the authors' code, and the
# mean over the checkpoints of every tenth epoch after convergence. They do not
# say where that is; we take the last hundred of 200 epochs, of which the code
# has 201.
_base_ = 'mkd_vgg16_cifar10.py'

model = dict(loss_weight=0.01, weighted_loss='value')

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=10))
test_cfg = dict(type='CheckpointMeanLoop', num_checkpoints=10)
