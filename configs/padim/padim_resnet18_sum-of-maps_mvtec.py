# The paper's comparison of stages: a Gaussian for each stage by itself, and
# the sum of their maps.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(reduction='none', dim=None, fusion='sum_of_maps')
