# All three parts of the paper, so that the backbone is trained, too.
_base_ = 'fyd_resnet18_mvtec.py'

model = dict(
    backbone=dict(name='wide_resnet50_2'),
    dim=550,
    fca=dict(mode='rotation_translation'),
    fas=dict(stages=['layer1', 'layer2', 'layer3'], pair='cyclic'))
