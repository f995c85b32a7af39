# The ablation of the paper that draws the patches at random.
_base_ = 'patchcore_resnet18_1pct_mvtec.py'

model = dict(selection='random')
