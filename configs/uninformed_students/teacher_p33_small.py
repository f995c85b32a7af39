# For a CPU: few channels, few steps, and a smaller source network.
_base_ = 'teacher_p33.py'

model = dict(
    network=dict(width=0.25, out_channels=64),
    backbone=dict(stages=['layer3']))
train_dataloader = dict(dataset=dict(length=32000))
train_cfg = dict(max_epochs=4)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
