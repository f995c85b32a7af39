# Your own images: name their folders with --normal-dir and the like, or in a
# config that inherits from this one.
_base_ = [
    '../_base_/models/spade_resnet18.py', '../_base_/datasets/folder.py',
    '../_base_/schedules/fit_once.py', '../_base_/default_runtime.py'
]

# A test takes seconds per image, so small batches show the progress better.
val_dataloader = dict(batch_size=4)
test_dataloader = dict(batch_size=4)
