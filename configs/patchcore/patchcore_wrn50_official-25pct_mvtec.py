# The embedding and the image score of the authors' code, as
# patchcore_wrn50_official-10pct_mvtec.py, with 25 % of the patches.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(
    backbone=dict(name='wide_resnet50_2'),
    coreset_ratio=0.25,
    patch_features=dict(embedding='official'),
    num_neighbors=1)
