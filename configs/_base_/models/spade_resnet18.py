# With ResNet-18, the image feature is the pooled third stage.
model = dict(
    type='SPADE',
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
    image_stage='layer3',
    num_neighbors=50)
