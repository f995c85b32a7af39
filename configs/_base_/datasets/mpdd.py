# MPDD, one category, resized and cropped like MVTec AD.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/mpdd'
category = 'bracket_black'

dataset = dict(type='MPDD', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
