# One category of MVTec AD with whole images at 128 pixels, as in MKD, for
# training by gradients.
_base_ = 'mvtec_ad.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(128, 128), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64, sampler=dict(shuffle=True), dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

# The second pixel metric is that of the MKD paper, without normal images.
val_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric', fpr_limit=0.3, resolution='input'),
    dict(type='PixelMetric', anomalous_only=True, prefix='anomalous_only'),
]
test_evaluator = val_evaluator
