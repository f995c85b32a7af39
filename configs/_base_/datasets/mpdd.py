# One category of MPDD. The objects may be anywhere in the image.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/mpdd'
category = 'bracket_black'

dataset = dict(type='MPDD', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
