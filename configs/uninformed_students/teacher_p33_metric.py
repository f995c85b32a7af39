# A teacher without a pretrained network: metric learning, and compact
# descriptors. For other patch sizes, also set `model.network.patch_size` and
# `patch_size` of RandomPatch.
_base_ = 'teacher_p33.py'

model = dict(backbone=None, knowledge_weight=0, metric_weight=1)

pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomPatch', patch_size=33, positive=True),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
