# The setting of the reference code,
# xiahaifeng1995/PaDiM-Anomaly-Detection-Localization-master: its 550 channels
# and its way to resize images.
_base_ = [
    '../_base_/models/padim_resnet18.py',
    '../_base_/datasets/mvtec_ad_lanczos.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

# Below `_base_`, since MMEngine takes a config that starts with an import for
# one of its lazy kind.
import random  # noqa: E402

# As `random.seed(1024)` and `random.sample(range(0, 1792), 550)` give them.
model = dict(
    backbone=dict(name='wide_resnet50_2'),
    reduction='given',
    dim=None,
    indices=random.Random(1024).sample(range(1792), 550))
