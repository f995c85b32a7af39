# The paper's comparison of reductions: 200 random channels.
_base_ = 'padim_resnet18_mvtec.py'

model = dict(dim=200)
