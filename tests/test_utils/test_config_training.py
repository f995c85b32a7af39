import copy

import pytest
from mmengine.config import Config

from mmad.errors import InputError
from mmad.utils.config_training import check_training

TRAINING = dict(
    optim_wrapper=dict(
        optimizer=dict(type='Adam', lr=1e-3),
        clip_grad=dict(max_norm=1),
        paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=0.1)))),
    param_scheduler=dict(type='StepLR', step_size=3),
    auto_scale_lr=dict(enable=True, base_batch_size=8),
    train_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=True)))


def changed(**entries):
    cfg = Config(copy.deepcopy(TRAINING))
    cfg.merge_from_dict(entries)
    return cfg


@pytest.mark.parametrize(
    'entries', [{},
                dict(param_scheduler=None),
                dict(optim_wrapper=None), {
                    'optim_wrapper.clip_grad': None
                }, {
                    'auto_scale_lr.enable': False
                }, {
                    'train_dataloader.sampler': dict(type='InfiniteSampler')
                },
                dict(param_scheduler=[dict(type='StepLR', step_size=3)])])
def test_complete(entries):
    check_training(changed(**entries))


@pytest.mark.parametrize(
    ('entries', 'match'),
    [({
        'optim_wrapper.optimizer.lrr': 1
    }, 'did you mean `lr`'),
     ({
         'optim_wrapper.optimizer.type': 'Adma'
     }, 'no optimizer "Adma"'),
     ({
         'optim_wrapper.clip_grad.max_nrom': 1
     }, 'max_nrom'),
     ({
         'optim_wrapper.clip_grad.type': 'x'
     }, '"norm" or "value"'),
     ({
         'optim_wrapper.paramwise_cfg.custom_keys.head.x': 1
     }, 'head.x'), ({
         'param_scheduler.step': 1
     }, '`step`'), ({
         'auto_scale_lr.base': 1
     }, r'auto_scale_lr\.base'),
     ({
         'auto_scale_lr.base_batch_size': 0
     }, 'base_batch_size'),
     ({
         'auto_scale_lr.base_batch_size': None
     }, 'base_batch_size'),
     ({
         'train_dataloader.sampler.shuffle': False
     }, 'does not shuffle')])
def test_amiss(entries, match):
    with pytest.raises(InputError, match=match):
        check_training(changed(**entries))
