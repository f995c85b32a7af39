# Generated plates at any angle and off the center. They are not cropped, as
# they may lie close to the border.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/demo'
category = 'plate_any-pose'

dataset = dict(type='AnomalyDataset', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
