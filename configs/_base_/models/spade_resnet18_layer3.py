# For weights files without the fourth stage: the image feature is the pooled
# third one.
_base_ = 'spade_resnet18.py'

model = dict(
    backbone=dict(stages=['layer1', 'layer2', 'layer3']), image_stage='layer3')
