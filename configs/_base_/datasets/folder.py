# Your own images, in folders relative to data_root; see docs/own_data.md.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/own'

dataset = dict(
    type='FolderDataset',
    data_root=data_root,
    normal_dir='normal',
    normal_test_dir=None,
    abnormal_dir='abnormal',
    mask_dir=None)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
