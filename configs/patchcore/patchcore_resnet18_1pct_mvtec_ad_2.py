_base_ = [
    '../_base_/models/patchcore_resnet18.py',
    '../_base_/datasets/mvtec_ad_2.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]
