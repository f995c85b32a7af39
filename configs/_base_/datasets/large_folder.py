# Your own images at their full resolution, all of one size, for a backbone
# with tiles; see docs/high_resolution.md. Folders are relative to data_root.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/own'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='FolderDataset',
    data_root=data_root,
    normal_dir='normal',
    normal_test_dir=None,
    abnormal_dir='abnormal',
    mask_dir=None,
    pipeline=pipeline)
train_dataloader = dict(batch_size=1, dataset=dataset)
val_dataloader = dict(batch_size=1, dataset=dataset)
test_dataloader = dict(batch_size=1, dataset=dataset)

# The scores of all pixels would take gigabytes.
val_evaluator = [
    dict(type='ImageMetric'),
    dict(type='PixelMetric', fpr_limit=0.3, resolution='input', score_bits=20),
]
test_evaluator = val_evaluator
