# One scale after the other, 100 epochs each, in a third of the memory.
_base_ = 'uninformed_students_mvtec.py'

train_cfg = dict(max_epochs=300, val_interval=300)
default_hooks = dict(
    checkpoint=dict(interval=100),
    scale_sequence=dict(type='ScaleSequenceHook'))
# Several processes: the students of other scales take no part.
find_unused_parameters = True
