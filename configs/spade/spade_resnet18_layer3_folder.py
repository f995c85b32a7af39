# Your own images, as in `spade_resnet18_folder.py`, for weights files without
# the fourth stage.
_base_ = [
    '../_base_/models/spade_resnet18_layer3.py',
    '../_base_/datasets/folder.py', '../_base_/schedules/fit_once.py',
    '../_base_/default_runtime.py'
]

# A test takes seconds per image, so small batches show the progress better.
val_dataloader = dict(batch_size=4)
test_dataloader = dict(batch_size=4)
