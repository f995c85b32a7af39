# Train one scale after the other, for 100 epochs each, with a third of the
# memory.
_base_ = 'uninformed_students_mvtec.py'

train_cfg = dict(max_epochs=300, val_interval=300)
default_hooks = dict(
    checkpoint=dict(interval=100),
    scale_sequence=dict(type='ScaleSequenceHook'))
# With several processes, the students of other scales get no gradients.
find_unused_parameters = True
