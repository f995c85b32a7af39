_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(coreset_ratio=0.1)
