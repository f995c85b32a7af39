_base_ = 'uninformed_students_mvtec.py'

model = dict(scales=[
    dict(
        network=dict(type='PatchNetwork', patch_size=33),
        teacher='work_dirs/teacher_p33/epoch_50.pth')
])
