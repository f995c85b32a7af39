# The ensemble at the large setting of the code of the authors.
_base_ = [
    '../_base_/models/patchcore_ensemble.py',
    '../_base_/datasets/mvtec_ad-320.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]
