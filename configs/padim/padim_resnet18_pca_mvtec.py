# The first epoch is for the principal components, the second for the
# Gaussians.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(reduction='pca')
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
