# 25 % of the patches, the largest of the three coresets of the paper.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(backbone=dict(name='wide_resnet50_2'), coreset_ratio=0.25)
