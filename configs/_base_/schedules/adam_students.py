# Uninformed Students: the teachers are measured, the students trained, and
# their scores calibrated on good images that were kept from training.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=20)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-5))
custom_hooks = [
    dict(type='TeacherStatisticsHook'),
    dict(type='CalibrationHook', share=0.1),
]
