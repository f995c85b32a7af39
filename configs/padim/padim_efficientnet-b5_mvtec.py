# The paper takes the layers 7, 20 and 26 of EfficientNet-B5, whose stages have
# 3, 5, 5, 7, 7, 9 and 3 blocks. Counted from 1, as the reference code counts
# the blocks of the package efficientnet_pytorch, block 7 is the fourth of
# stage 2 (40 channels, stride 4), 20 the last of stage 4 (128, stride 16) and
# 26 the sixth of stage 5 (176, stride 16). `features` of torchvision has the
# stem at 0 and the stages at 1 to 7, with their blocks from 0. How many of
# these 344 channels the paper keeps is not known to us; here it is all.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(
    backbone=dict(
        name='efficientnet_b5',
        stages=['features.2.3', 'features.4.6', 'features.5.5']),
    reduction='none',
    dim=None)
