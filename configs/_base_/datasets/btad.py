# One product of BTAD. The products differ in size and shape, and 02 is a
# surface.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/btad'
category = '01'

dataset = dict(type='BTAD', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
