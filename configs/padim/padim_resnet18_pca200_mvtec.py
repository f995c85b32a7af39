# The paper's comparison of reductions: 200 principal components, which the
# first epoch computes.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(reduction='pca', dim=200)
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
