import time
from threading import Thread

import pytest
import torch
from torch import nn

from mmad.apis.model_size_limit import limit_model_size
from mmad.errors import InputError
from mmad.registry import MODELS

BACKBONE = dict(type='DemoBackbone', weights=None)
NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.01)


def build(cfg):
    with limit_model_size():
        return MODELS.build(cfg)


@pytest.mark.parametrize('cfg', [
    dict(
        type='MKD',
        backbone=BACKBONE,
        cloner=dict(
            type='Cloner', widths=[[3, 20000, 20000], [3]], points=[0, 1])),
    dict(type='FYD', backbone=BACKBONE, ica=dict(grid=600)),
    dict(type='PatchNetwork', patch_size=65, width=100),
    dict(type='PatchNetwork', patch_size=17, out_channels=4 * 10**5),
])
def test_too_large(cfg):
    start = time.monotonic()
    with pytest.raises(InputError, match='more than 1,300,000,000 param'):
        build(cfg)
    assert time.monotonic() - start < 5


def test_too_many(monkeypatch):
    monkeypatch.setattr('mmad.apis.model_size_limit._COST_PER_TENSOR', 10**7)
    scale = dict(network=NETWORK)
    with pytest.raises(InputError, match='more than 1,300,000,000 param'):
        build(
            dict(
                type='UninformedStudents', num_students=10**9, scales=[scale]))
    build(dict(type='UninformedStudents', num_students=2, scales=[scale]))


def test_nothing_is_left_behind():
    with pytest.raises(InputError), limit_model_size():
        nn.Linear(10**5, 10**5, bias=False, device='meta')
    nn.Linear(10**5, 10**5, bias=False, device='meta')
    with limit_model_size():
        assert nn.Linear(3, 3)(torch.ones(3)).shape == (3, )


def test_another_thread_builds_what_it_likes():
    built = []

    def build_large():
        built.append(nn.Linear(10**5, 10**5, bias=False, device='meta'))

    with limit_model_size():
        thread = Thread(target=build_large)
        thread.start()
        thread.join()
    assert built
