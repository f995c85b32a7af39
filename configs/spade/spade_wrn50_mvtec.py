# The paper's: the pooled fourth stage is the image feature.
_base_ = 'spade_resnet18_mvtec.py'

model = dict(
    backbone=dict(
        name='wide_resnet50_2',
        stages=['layer1', 'layer2', 'layer3', 'layer4']),
    image_stage='layer4')
