# The paper's comparison of stages: one Gaussian over all channels of all
# stages. For one stage alone, set `backbone.stages` as well.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(reduction='none', dim=None)
