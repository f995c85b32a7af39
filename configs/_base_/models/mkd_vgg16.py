# Source and cloner get the same images, as RGB from 0 to 1. In the paper and
# in the code of its authors, they are not normalized for ImageNet.
model = dict(
    type='MKD',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[0, 0, 0],
        std=[255, 255, 255],
        bgr_to_rgb=True),
    # The last four pooling layers.
    backbone=dict(
        type='TorchvisionBackbone',
        name='vgg16',
        stages=['features.9', 'features.16', 'features.23', 'features.30'],
        weights='IMAGENET1K_V1'),
    cloner=dict(type='Cloner', widths='light', points=[1, 2, 3, 4]),
    loss_weight='auto',
    weighted_loss='direction',
    # As in the code of the authors; the paper has [0, 1, 2, 3].
    test_points=[1, 2, 3],
    attribution=dict(method='gradients'))
