# One category of MVTec LOCO AD. Objects may be missing or misplaced anywhere.
# The masks are not read, so there are only image-level metrics.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/mvtec_loco'
category = 'breakfast_box'

dataset = dict(type='MVTecLOCO', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

val_evaluator = [dict(type='ImageMetric')]
test_evaluator = val_evaluator
