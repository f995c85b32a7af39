# A larger backbone, with as many channels as PaDiM keeps of it. Which backbone
# the paper uses is not known to us.
_base_ = 'fyd_resnet18_mvtec.py'

model = dict(backbone=dict(name='wide_resnet50_2'), dim=550)
