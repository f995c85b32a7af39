# One class of CIFAR-10 is normal; its images have 32 pixels.
_base_ = 'uninformed_students_one_class.py'

dataset = dict(name='CIFAR10')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
