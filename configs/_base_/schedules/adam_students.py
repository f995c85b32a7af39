# For Uninformed Students: measure the teachers, train the students, and
# measure their errors on normal images that are held out from training.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=20)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-5))
custom_hooks = [
    dict(type='TeacherStatisticsHook'),
    dict(type='StudentStatisticsHook', share=0.1),
]
