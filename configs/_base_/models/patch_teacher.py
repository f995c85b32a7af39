model = dict(
    type='PatchTeacher',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    network=dict(type='PatchNetwork', patch_size=65),
    # The descriptor of a patch is the mean over the last stage, 512 numbers.
    backbone=dict(
        type='TorchvisionBackbone',
        name='resnet18',
        stages=['layer4'],
        weights='IMAGENET1K_V1'),
    knowledge_weight=1,
    metric_weight=0,
    compactness_weight=1)
