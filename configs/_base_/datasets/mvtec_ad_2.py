# One category of MVTec AD 2, tested on its public test images. As in the paper
# (arXiv 2503.21622), AUPRO is integrated up to a false positive rate of 0.05.
# The images are large and some defects are small: see docs/high_resolution.md.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/mvtec_ad_2'
category = 'can'

dataset = dict(type='MVTecAD2', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

val_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric', fpr_limit=0.05, resolution='input'),
]
test_evaluator = val_evaluator
