import pytest
import torch
from conftest import TinyBackbone

from mmad.apis import init_model
from mmad.errors import InputError
from mmad.utils import load_checkpoint


@pytest.fixture
def checkpoint(fitted):
    return f'{fitted.work_dir}/epoch_1.pth'


def test_from_the_checkpoint_alone(fitted, checkpoint):
    model = init_model(checkpoint, device='cpu', modules=['conftest'])
    assert not model.training
    assert isinstance(model.backbone, TinyBackbone)
    for name, value in model.state_dict().items():
        assert torch.equal(value, fitted.model.state_dict()[name])
    assert model.cfg.model.num_neighbours == 3


def test_config_given(checkpoint, fitted, tmp_path):
    cfg = fitted.cfg.copy()
    cfg.model.num_neighbours = 1
    assert init_model(checkpoint, cfg, 'cpu').num_neighbours == 1
    cfg.dump(tmp_path / 'config.py')
    model = init_model(checkpoint, tmp_path / 'config.py', 'cpu')
    assert model.num_neighbours == 1


def test_nothing_is_downloaded(checkpoint, tmp_path, config, monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('download')

    monkeypatch.setattr('torch.hub.download_url_to_file', refuse)
    state = load_checkpoint(checkpoint)
    assert "'TinyBackbone'" in state['meta']['cfg']
    state['meta']['cfg'] = state['meta']['cfg'].replace(
        "type='TinyBackbone'", "type='TinyBackbone', weights='IMAGENET'")
    torch.save(state, tmp_path / 'a.pth')
    model = init_model(
        tmp_path / 'a.pth', device='cpu', modules=['conftest'])
    assert model.cfg.model.backbone.weights is None


def test_without_a_config(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth" stores no config'):
        init_model(tmp_path / 'a.pth')


def test_weights_are_no_checkpoint(tmp_path, fitted):
    torch.save(fitted.model.backbone.state_dict(), tmp_path / 'a.pth')
    with pytest.raises(InputError, match='no fitted state'):
        init_model(tmp_path / 'a.pth', fitted.cfg.copy())


def test_missing(tmp_path):
    with pytest.raises(InputError, match=r'a\.pth" does not exist'):
        init_model(tmp_path / 'a.pth')


def test_config_in_a_checkpoint_runs_no_code(tmp_path):
    path = tmp_path / 'evil.pth'
    text = f'x = __import__("os").mkdir({str(tmp_path / "owned")!r})\n'
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), path)
    with pytest.raises(InputError, match='more than plain values'):
        init_model(path)
    assert not (tmp_path / 'owned').exists()
