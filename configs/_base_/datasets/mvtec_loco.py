# One category of MVTec LOCO AD. Objects may be missing or misplaced anywhere.
# As in the paper's evaluation, the localization metric is the saturated
# per-region overlap of the original images up to a false positive rate of
# 0.05. Keeping 20 bits of each score bounds the memory; the log has the error.
_base_ = 'whole_images.py'

data_root = '{{$MMAD_DATA:data}}/mvtec_loco'
category = 'breakfast_box'

dataset = dict(type='MVTecLOCO', data_root=data_root, category=category)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

val_evaluator = [
    dict(type='ImageMetric', mean_over_types=True),
    dict(
        type='SaturatedPROMetric',
        fpr_limit=0.05,
        resolution='original',
        score_bits=20),
]
test_evaluator = val_evaluator
