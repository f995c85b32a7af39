_base_ = 'uninformed_students_mvtec.py'

model = dict(scales=[
    dict(
        network=dict(type='PatchNetwork', patch_size=65),
        teacher='work_dirs/teacher_p65/epoch_50.pth')
])
