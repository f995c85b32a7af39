# Ablation: all three parts of the paper.
_base_ = [
    '../_base_/models/fyd_resnet18.py', '../_base_/datasets/rd_mvtec_ad.py',
    '../_base_/schedules/sgd_10e.py', '../_base_/default_runtime.py'
]

model = dict(
    fca=dict(mode='rotation_translation'),
    fas=dict(stages=['layer1', 'layer2', 'layer3'], pair='cyclic'))
train_dataloader = dict(batch_size=8, sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
