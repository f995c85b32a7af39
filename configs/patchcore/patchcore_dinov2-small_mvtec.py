# PatchCore on the patch tokens of DINOv2, small. Whole images at 448 pixels,
# as in AnomalyDINO (arXiv 2405.14529): 32 x 32 patches of 14 pixels. DINOv2
# ended its training at 518 pixels, which is 37 x 37 patches and a third more.
# The tokens of the last block are normalized, as its authors use them, and
# have seen their surroundings: no neighborhoods are averaged.
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
