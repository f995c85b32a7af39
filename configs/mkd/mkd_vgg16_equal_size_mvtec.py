# The ablation of the paper with a cloner that has the size of the source.
_base_ = 'mkd_vgg16_mvtec.py'

model = dict(cloner=dict(widths='equal_size'))
