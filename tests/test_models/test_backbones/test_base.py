import pickle

import pytest
import torch
from tiny_models import TinyBackbone
from torch import nn

from mmad.errors import InputError
from mmad.models.backbones.base import load_needed, read_weights


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_frozen_for_good():
    backbone = TinyBackbone()
    detector = nn.Sequential(backbone, nn.BatchNorm2d(3))
    for mode in (True, False, True):
        detector.train(mode)
        assert not any(m.training for m in backbone.modules())
        assert detector[1].training is mode
    assert not any(p.requires_grad for p in backbone.parameters())


def test_first_convolution_stays_fixed():
    backbone = TinyBackbone()
    backbone.unfreeze()
    assert [
        name for name, p in backbone.named_parameters() if p.requires_grad
    ] == ['body.layer3.weight', 'body.layer3.bias']


@pytest.mark.parametrize('stages', [[], ['layer2', 'layer2']])
def test_stages_named_once(stages):
    with pytest.raises(InputError, match='each wanted stage once'):
        TinyBackbone(stages)


def test_stages_in_the_order_asked_for():
    inputs = torch.rand(1, 3, 16, 16)
    second, first = TinyBackbone(['layer3', 'layer2'])(inputs)
    expected = TinyBackbone(['layer2', 'layer3'])(inputs)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])


@pytest.mark.parametrize('wrap', [False, True])
def test_read_weights(tmp_path, network, wrap):
    state = network.state_dict()
    torch.save(
        dict(state_dict=state, epoch=3) if wrap else state,
        tmp_path / 'weights.pth')
    found = read_weights(tmp_path / 'weights.pth')
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_read_weights_from_home(tmp_path, network, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save(network.state_dict(), tmp_path / 'weights.pth')
    assert read_weights('~/weights.pth').keys() == network.state_dict().keys()


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r'none\.pth" does not exist'):
        read_weights(tmp_path / 'none.pth')
    with pytest.raises(InputError, match='is no file'):
        read_weights(tmp_path)


def test_no_damaged_byte_is_read(tmp_path, network):
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    content = path.read_bytes()
    tensor = next(iter(network.state_dict().values())).numpy().tobytes()
    damaged = bytearray(content)
    damaged[content.index(tensor)] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match='is damaged'):
        read_weights(path)


@pytest.mark.parametrize('content', [b'', b'not a file of torch', None])
def test_broken_file(tmp_path, network, content):
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    # None: what a broken download leaves.
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match=r'weights\.pth" cannot be read'):
        read_weights(path)


@pytest.mark.parametrize('content', [[torch.zeros(3)], dict(epoch=3)])
def test_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / 'weights.pth')
    with pytest.raises(InputError, match='holds no state dict'):
        read_weights(tmp_path / 'weights.pth')


class Bomb:

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), 'w')


@pytest.mark.parametrize('save', [torch.save, pickle.dump])
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_code_is_not_run(tmp_path, save):
    with open(tmp_path / 'weights.pth', 'wb') as file:
        save(dict(weight=Bomb(tmp_path / 'run')), file)
    with pytest.raises(InputError, match='cannot be read'):
        read_weights(tmp_path / 'weights.pth')
    assert not (tmp_path / 'run').exists()


def test_load_needed_ignores_the_surplus(network):
    state = {
        name: torch.rand_like(value.float())
        for name, value in network.state_dict().items()
    }
    load_needed(network, dict(state, fc=torch.zeros(9)), 'file')
    for name, value in network.state_dict().items():
        if 'num_batches' not in name:
            assert torch.equal(value, state[name])


def test_counters_need_not_be_there(network):
    state = network.state_dict()
    del state['1.num_batches_tracked']
    load_needed(network, state, 'file')


def test_missing_and_misshapen_tensors_are_listed(network):
    state = {name: value + 1 for name, value in network.state_dict().items()}
    before = network.state_dict()['0.bias'].clone()
    del state['0.weight']
    state['1.bias'] = torch.zeros(5)
    with pytest.raises(InputError) as error:
        load_needed(network, state, 'file "x"')
    assert 'file "x" lacks 2 of the 6 tensors' in str(error.value)
    assert '0.weight (4, 3, 1, 1), 1.bias (4,)' in str(error.value)
    assert 'or a config with earlier `stages`.' in str(error.value)
    assert torch.equal(network.state_dict()['0.bias'], before)


def test_long_lists_are_cut():
    network = nn.Sequential(*[nn.Linear(2, 2) for _ in range(6)])
    with pytest.raises(InputError, match=r'3\.bias \(2,\) and 4 more'):
        load_needed(network, {}, 'file')


@pytest.mark.parametrize(
    'stages', [['layer2', 'layer3'], ['layer3', 'layer2'], ['layer3']])
def test_channels(stages):
    backbone = TinyBackbone(stages)
    expected = tuple(level.shape[1]
                     for level in backbone(torch.zeros(1, 3, 16, 16)))
    assert backbone.channels == expected
