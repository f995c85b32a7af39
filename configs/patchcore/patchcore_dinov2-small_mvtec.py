# PatchCore on the patch tokens of the small DINOv2. Whole images are resized
# to 448 pixels, as in AnomalyDINO (arXiv 2405.14529), which is 32 x 32 patches
# of 14 pixels. The training of DINOv2 ended at 518 pixels, or 37 x 37 patches.
# The tokens of the last block are normalized, as in the code of its authors.
# Neighborhoods are not averaged, since tokens already depend on their
# surroundings.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        name='vit_small_patch14_dinov2',
        stages=['blocks.11'],
        weights='pretrained',
        norm=True),
    patch_features=dict(patch_size=1),
    coreset_ratio=0.1)

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(448, 448), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
