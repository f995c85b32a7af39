default_scope = 'mmad'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    progress=dict(type='ProgressHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    calibration=dict(type='CalibrationHook', false_alarm_rate=0.01),
    checkpoint=dict(type='CheckpointHook', interval=1),
    training_start=dict(type='TrainingStartHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    report=dict(type='ReportHook'),
    visualization=dict(type='VisualizationHook'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=7200),
    dist_timeout=300)

visualizer = dict(
    type='AnomalyVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
