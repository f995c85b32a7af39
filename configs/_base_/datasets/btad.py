# BTAD, one product, resized and cropped like MVTec AD: the pictures of the
# products differ in size, and all become 256 x 256.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/btad'
category = '01'

dataset = dict(type='BTAD', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
