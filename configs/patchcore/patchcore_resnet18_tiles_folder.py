# Your own large images at full resolution, tile by tile.
_base_ = [
    '../_base_/models/patchcore_resnet18.py',
    '../_base_/datasets/large_folder.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]

model = dict(
    backbone=dict(tiles=dict(size=512, overlap=128)),
    coreset_ratio=0.1,
    # A hundred thousand patches.
    memory_budget=250_000_000)
