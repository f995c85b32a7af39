# As in the paper, the image feature is the pooled fourth stage.
_base_ = 'spade_resnet18_mvtec.py'

model = dict(
    backbone=dict(
        name='wide_resnet50_2',
        stages=['layer1', 'layer2', 'layer3', 'layer4']),
    image_stage='layer4')
