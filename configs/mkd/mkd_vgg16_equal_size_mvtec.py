# The ablation of the paper with a cloner that has the size of the source.
_base_ = [
    '../_base_/models/mkd_vgg16.py', '../_base_/datasets/mvtec_ad_128.py',
    '../_base_/schedules/adam_600e.py', '../_base_/default_runtime.py'
]

model = dict(cloner=dict(widths='equal_size'))

default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=2))
