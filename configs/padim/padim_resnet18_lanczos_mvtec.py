# Images are resized as in the reference code (xiahaifeng1995's).
_base_ = [
    '../_base_/models/padim_resnet18.py',
    '../_base_/datasets/mvtec_ad_lanczos.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]
