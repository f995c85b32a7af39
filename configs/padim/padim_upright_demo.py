# The same plates as in `padim_any-pose_demo.py`, brought upright by their true
# poses: what a method that aligns them perfectly would get.
_base_ = 'padim_any-pose_demo.py'

dataset = dict(category='plate_upright')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
