# All patches, as in the run times of the paper; nothing is selected.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(coreset_ratio=1)
