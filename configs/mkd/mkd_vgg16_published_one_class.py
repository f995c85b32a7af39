# The published protocol for MNIST and Fashion-MNIST: the loss of the authors'
# code, and the mean over the checkpoints of every tenth epoch after
# convergence. They do not say where that is; we take the last three of 50
# epochs, of which the code has 51.
_base_ = 'mkd_vgg16_one_class.py'

model = dict(loss_weight=0.01, weighted_loss='value')

default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
test_cfg = dict(type='CheckpointMeanLoop', num_checkpoints=3)
