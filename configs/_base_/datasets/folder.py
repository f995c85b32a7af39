# Your own images. Folders are relative to data_root; see docs/own_data.md.
data_root = '{{$MMAD_DATA:data}}/own'

folders = dict(
    normal_dir='normal',
    normal_test_dir=None,
    abnormal_dir='abnormal',
    mask_dir=None)
pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FolderDataset',
        data_root=data_root,
        split='train',
        pipeline=pipeline,
        **folders))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FolderDataset',
        data_root=data_root,
        split='test',
        pipeline=pipeline,
        **folders))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric', fpr_limit=0.3, resolution='input'),
]
test_evaluator = val_evaluator
