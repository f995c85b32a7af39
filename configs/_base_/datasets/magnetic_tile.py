# Magnetic tiles, resized and cropped like MVTec AD: the pictures differ in
# size and shape, and all become 256 x 256. There are no categories.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/magnetic_tile'
category = None

dataset = dict(type='MagneticTile', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
