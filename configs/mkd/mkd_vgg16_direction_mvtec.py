# The ablation of the paper with the loss of the direction alone. Scores and
# maps come from the same loss.
_base_ = [
    '../_base_/models/mkd_vgg16.py', '../_base_/datasets/mvtec_ad_128.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

model = dict(loss_weight=0, weighted_loss='value')

default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=2))
