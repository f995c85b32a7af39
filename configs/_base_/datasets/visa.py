# VisA, one category, resized and cropped like MVTec AD: the pictures are not
# square, so they are squeezed into 256 x 256.
_base_ = 'mvtec_ad.py'

data_root = '{{$MMAD_DATA:data}}/visa'
category = 'candle'

dataset = dict(type='VisA', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
