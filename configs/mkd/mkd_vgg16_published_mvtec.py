# The protocol of the published results, as the paper and its authors' code
# (github.com/Niousha12/Knowledge_Distillation_AD) describe it: the loss of the
# code, each map scaled to its 99th percentile, and the mean over the
# checkpoints of every tenth epoch after convergence. They do not say where
# that is; we take the last hundred of 600 epochs, of which the code has 601.
# The published pixel AUROC is `anomalous_only/pixel_auroc`.
_base_ = [
    '../_base_/models/mkd_vgg16.py', '../_base_/datasets/mvtec_ad_128.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

model = dict(
    loss_weight=0.5, weighted_loss='value', attribution=dict(percentile=99))

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=10))
test_cfg = dict(type='CheckpointMeanLoop', num_checkpoints=10)
