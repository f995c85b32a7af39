# One category of VisA. The objects are not centered, and an image may show
# several of them.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/visa'
category = 'candle'

dataset = dict(type='VisA', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
