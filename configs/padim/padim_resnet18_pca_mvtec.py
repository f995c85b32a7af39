# The first epoch computes the principal components, the second one the
# Gaussians.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(reduction='pca')
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
