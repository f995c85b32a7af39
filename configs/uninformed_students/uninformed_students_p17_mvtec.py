_base_ = 'uninformed_students_mvtec.py'

model = dict(scales=[
    dict(
        network=dict(type='PatchNetwork', patch_size=17),
        teacher='work_dirs/teacher_p17/epoch_50.pth')
])
