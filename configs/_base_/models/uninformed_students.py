# The three patch sizes of the paper. Each teacher is trained with its own
# config in configs/uninformed_students/.
model = dict(
    type='UninformedStudents',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    scales=[
        dict(
            network=dict(type='PatchNetwork', patch_size=17),
            teacher='work_dirs/teacher_p17/epoch_50.pth'),
        dict(
            network=dict(type='PatchNetwork', patch_size=33),
            teacher='work_dirs/teacher_p33/epoch_50.pth'),
        dict(
            network=dict(type='PatchNetwork', patch_size=65),
            teacher='work_dirs/teacher_p65/epoch_50.pth'),
    ],
    num_students=3)
