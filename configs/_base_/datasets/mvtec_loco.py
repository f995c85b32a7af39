# MVTec LOCO AD, one category. Parts may be missing or misplaced anywhere. Its
# masks are not read, so there are image-level metrics only.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/mvtec_loco'
category = 'breakfast_box'

dataset = dict(type='MVTecLOCO', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

val_evaluator = [dict(type='ImageMetric')]
test_evaluator = val_evaluator
