import shutil

import pytest
import torch

from mmad.errors import InputError
from mmad.models import PatchNetwork, load_teacher

NORMALISATION = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    reversed_channels=True)


@pytest.fixture
def network():
    return PatchNetwork(17, 0.02, 4)


def assert_loaded(network, path):
    state = torch.load(path, weights_only=True)['state_dict']
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[f'network.{name}'])


def test_by_path(network, teacher_files):
    load_teacher(network, str(teacher_files[17]), NORMALISATION)
    assert_loaded(network, teacher_files[17])


def test_by_name(network, teacher_files, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    with pytest.raises(
            InputError,
            match=(
                r'no teacher ".*/hub/checkpoints/my_teacher\.pth" for p = 17'
            )):
        load_teacher(network, 'my_teacher', NORMALISATION)
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    shutil.copy(teacher_files[17], folder / 'my_teacher.pth')
    load_teacher(network, 'my_teacher', NORMALISATION)
    assert_loaded(network, teacher_files[17])


def test_missing(network):
    with pytest.raises(
            InputError,
            match=(
                r'no teacher "none/a\.pth" for p = 17; train one with '
                r'tools/train\.py configs/uninformed_students/teacher_p17\.py'
            )):
        load_teacher(network, 'none/a.pth', NORMALISATION)


def test_missing_one_of_a_config(network):
    with pytest.raises(
            InputError,
            match=(
                r'teacher_p17_small\.py .* model\.scales\.2\.teacher=FILE')):
        load_teacher(network, 'runs/teacher_p17_small/epoch_4.pth',
                     NORMALISATION, 2)


@pytest.mark.parametrize(
    ('network', 'normalization', 'words'),
    [(PatchNetwork(33, 0.02, 4), NORMALISATION, 'patch_size 17 instead of 33'),
     (PatchNetwork(17, 0.04, 4), NORMALISATION, 'width 0.02 instead of 0.04'),
     (PatchNetwork(17, 0.02, 5), NORMALISATION, 'out_channels 4 instead of 5'),
     (PatchNetwork(17, 0.02, 4), None, 'normalization .* instead of None'),
     (PatchNetwork(17, 0.02, 4), dict(NORMALISATION, reversed_channels=False),
      'normalization .* instead of')])
def test_another_teacher(teacher_files, network, normalization, words):
    with pytest.raises(InputError, match=words):
        load_teacher(network, str(teacher_files[17]), normalization)


def test_another_model(network, tmp_path):
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'a.pth')
    with pytest.raises(InputError, match="model None instead of 'PatchTeach"):
        load_teacher(network, str(tmp_path / 'a.pth'), NORMALISATION)


@pytest.mark.parametrize('fingerprint', [
    None, 3,
    torch.tensor([255], dtype=torch.uint8),
    torch.tensor([-1]),
    torch.tensor(list(b'[1]'), dtype=torch.uint8)
])
def test_no_fingerprint(network, tmp_path, fingerprint):
    torch.save(
        dict(state_dict={'fit_state.fingerprint': fingerprint}),
        tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r"model None instead of 'Patch"):
        load_teacher(network, str(tmp_path / 'a.pth'), NORMALISATION)


def test_damaged(network, teacher_files, tmp_path):
    state = torch.load(teacher_files[17], weights_only=True)
    name = next(iter(network.state_dict()))
    del state['state_dict'][f'network.{name}']
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth" is damaged'):
        load_teacher(network, str(tmp_path / 'a.pth'), NORMALISATION)


@pytest.mark.parametrize(
    'change', [{
        'fit_state.batches_left': 'x'
    }, {
        'fit_state.batches_left': None
    }, {
        'fit_state.batches_left': [1]
    }, {
        'network.layers.0.weight': 5
    }, {
        'network.layers.0.weight': torch.ones(1)
    }, {
        'network.more': torch.ones(1)
    }],
    ids=str)
def test_a_damaged_one(network, teacher_files, tmp_path, change):
    state = torch.load(teacher_files[17], weights_only=True)
    state['state_dict'].update(change)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='damaged'):
        load_teacher(network, str(tmp_path / 'a.pth'), NORMALISATION)
