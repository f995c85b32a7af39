# The ablation of the paper with the loss of the values alone. Scores and maps
# come from the same loss.
_base_ = 'mkd_vgg16_mvtec.py'

model = dict(loss_weight=0, weighted_loss='direction')
