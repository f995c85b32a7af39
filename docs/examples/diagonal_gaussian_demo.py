# The demo's data, backbone and schedule with another detector.
_base_ = '../../configs/patchcore/patchcore_demo.py'

custom_imports = dict(
    imports=['diagonal_gaussian'], allow_failed_imports=False)

model = dict(
    _delete_=True,
    type='DiagonalGaussian',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone)
