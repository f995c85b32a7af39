# MVTec AD, one category, whole images at 256 pixels (the setting of Uninformed
# Students): one per step, and a tenth kept from training for calibration.
_base_ = 'mvtec_ad.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=1,
    sampler=dict(shuffle=True),
    dataset=dict(pipeline=pipeline, calibration=0.1))
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))
