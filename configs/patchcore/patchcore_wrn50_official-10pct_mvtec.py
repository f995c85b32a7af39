# The first command of the authors' code, sample_training.sh of
# https://github.com/amazon-science/patchcore-inspection: their
# embedding, and the plain maximum as the image score.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(
    backbone=dict(name='wide_resnet50_2'),
    coreset_ratio=0.1,
    patch_features=dict(embedding='official'),
    num_neighbors=1)
