# The setting of byungjae89/SPADE-pytorch: 5 nearest images, distances that are
# not squared, a search in each stage by itself, and Lanczos' filter.
_base_ = [
    '../_base_/models/spade_resnet18.py',
    '../_base_/datasets/mvtec_ad_lanczos.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

model = dict(
    backbone=dict(name='wide_resnet50_2'),
    num_neighbors=5,
    fusion='per_level',
    squared=False)

# A test takes seconds per image, so small batches show the progress better.
val_dataloader = dict(batch_size=4)
test_dataloader = dict(batch_size=4)
