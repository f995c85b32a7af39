# The ensemble of the code of the authors (sample_training.sh): features of 384
# dimensions, and the plain maximum as image score.
patchcore = dict(
    type='PatchCore',
    coreset_ratio=0.01,
    num_neighbors=1,
    patch_features=dict(embedding='official', dim=384, stage_dim=1024))
backbone = dict(
    type='TorchvisionBackbone',
    stages=['layer2', 'layer3'],
    weights='IMAGENET1K_V1')

model = dict(
    type='Ensemble',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    members=[
        dict(patchcore, backbone=dict(backbone, name='wide_resnet101_2')),
        dict(patchcore, backbone=dict(backbone, name='resnext101_32x8d')),
        dict(
            patchcore,
            backbone=dict(
                backbone,
                name='densenet201',
                stages=['features.denseblock2', 'features.denseblock3'])),
    ])
del patchcore, backbone
