# ICA, from poses that a search finds. FCA and FAS are off, as they add nothing
# to it on most data; FCA needs FAS.
model = dict(
    type='FYD',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type='TorchvisionResNet',
        name='resnet18',
        stages=['layer1', 'layer2', 'layer3'],
        weights='IMAGENET1K_V1'),
    pose_search=dict(),
    ica=dict(mode='rotation_translation', max_angle=5, max_shift=0.03),
    pair_loss=dict(type='PairLoss', pairs='cyclic', loss_weight=1.0),
    alignment_loss=dict(type='AlignmentLoss', loss_weight=1.0),
    mean_transform_loss=dict(type='MeanTransformLoss', loss_weight=10.0),
    gaussian_frame='aligned',
    reduction='random',
    dim=100)
