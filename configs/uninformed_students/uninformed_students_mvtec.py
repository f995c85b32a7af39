_base_ = [
    '../_base_/models/uninformed_students.py',
    '../_base_/datasets/mvtec_ad_256.py',
    '../_base_/schedules/adam_students.py', '../_base_/default_runtime.py'
]

# Two, since an old one is removed before a new one is written.
default_hooks = dict(checkpoint=dict(interval=20, max_keep_ckpts=2))
