# Magnetic tiles, without categories. The images differ in size and shape, and
# many defects are at the border.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/magnetic_tile'
category = None

dataset = dict(type='MagneticTile', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
