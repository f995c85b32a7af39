# This model is not in the paper: three stages of a ResNet, which unlike VGG-16
# gets normalized images, and a cloner with the same channels and strides.
model = dict(
    type='MKD',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type='TorchvisionBackbone',
        name='resnet18',
        stages=['layer1', 'layer2', 'layer3'],
        weights='IMAGENET1K_V1'),
    cloner=dict(
        type='Cloner',
        widths=[[16, 16], [16, 64], [16, 16, 128], [16, 16, 256]],
        points=[1, 2, 3],
        ceil_mode=True),
    loss_weight='auto',
    weighted_loss='direction',
    test_points=[0, 1, 2],
    attribution=dict(method='gradients'))
