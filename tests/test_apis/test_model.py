import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_models import TinyBackbone

from mmad.apis import AnomalyInferencer, init_model
from mmad.errors import InputError
from mmad.utils import load_checkpoint
from mmad.utils.config_file import KEYS

_NAME = 'fit_state.fingerprint'


@pytest.fixture
def checkpoint(fitted):
    return f'{fitted.work_dir}/epoch_1.pth'


def test_from_the_checkpoint_alone(fitted, checkpoint):
    model = init_model(checkpoint, device='cpu', modules=['tiny_models'])
    assert not model.training
    assert isinstance(model.backbone, TinyBackbone)
    for name, value in model.state_dict().items():
        assert torch.equal(value, fitted.model.state_dict()[name])
    assert model.cfg.model.num_neighbors == 3


def test_config_given(checkpoint, fitted, tmp_path):
    cfg = fitted.cfg.copy()
    cfg.model.num_neighbors = 1
    assert init_model(checkpoint, cfg, 'cpu').num_neighbors == 1
    cfg = Config({key: cfg[key] for key in cfg if key in KEYS})
    cfg.dump(tmp_path / 'config.py')
    model = init_model(checkpoint, tmp_path / 'config.py', 'cpu')
    assert model.num_neighbors == 1


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
        tmp_path / 'a.pth', device='cpu', modules=['tiny_models'])
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


@pytest.mark.parametrize(
    'device',
    ['banana', 'cuda:77', 'cuda:x', '', 'meta', 'cpu:cpu', 3.5, [], 'vulkan'])
def test_no_such_device(checkpoint, device):
    with pytest.raises(InputError, match=r'device .* cannot be used') as error:
        init_model(checkpoint, device=device, modules='tiny_models')
    assert '\n' not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
@pytest.mark.parametrize('device', ['cuda', torch.device('cuda', 0), 0])
def test_no_gpu(device):
    # Found before the checkpoint is looked at.
    with pytest.raises(InputError, match='cannot be used here'):
        init_model('none.pth', device=device)


@pytest.mark.parametrize('device', ['cpu', torch.device('cpu')])
def test_device(checkpoint, device):
    model = init_model(checkpoint, device=device, modules='tiny_models')
    assert {value.device.type
            for value in model.state_dict().values()} == {'cpu'}


@pytest.mark.parametrize('text', [
    None, 'model = ', 'raise RuntimeError', 'import none_such', 'a = 1',
    '_base_ = "none.py"', 'model = 3', 'model = dict(type="NoSuch")',
    'model = dict(type="mmad.NoSuch")'
])
def test_broken_config(checkpoint, tmp_path, text):
    if text is not None:
        (tmp_path / 'config.py').write_text(text + '\n')
    with pytest.raises(InputError) as error:
        init_model(checkpoint, tmp_path / 'config.py', 'cpu')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('suffix', ['.txt', '.json', ''])
def test_config_that_is_none(checkpoint, tmp_path, suffix):
    path = tmp_path / f'config{suffix}'
    path.write_text('x')
    with pytest.raises(InputError, match='is no'):
        init_model(checkpoint, path, 'cpu')
    with pytest.raises(InputError, match='is no config'):
        init_model(checkpoint, tmp_path, 'cpu')


def test_given_config_stays_as_it_is(checkpoint, fitted):
    cfg = copy.deepcopy(fitted.cfg)
    cfg.model.backbone.weights = 'file.pth'
    model = init_model(checkpoint, cfg, 'cpu')
    assert cfg.model.backbone.weights == 'file.pth'
    assert model.cfg.model.backbone.weights is None


@pytest.mark.parametrize('spell', [
    lambda name: f'mmad.{name}', lambda name: f'mmad.models.{name}',
    lambda name: f'mmad.models.detectors.patchcore.{name}'
])
def test_scoped_type(checkpoint, tmp_path, spell):
    state = load_checkpoint(checkpoint)
    text = state['meta']['cfg']
    assert "'PatchCore'" in text
    state['meta']['cfg'] = text.replace('PatchCore', spell('PatchCore'))
    torch.save(state, tmp_path / 'a.pth')
    model = init_model(tmp_path / 'a.pth', device='cpu', modules='tiny_models')
    assert type(model).__name__ == 'PatchCore'


LAZY = """
from mmcv.transforms import CenterCrop
from mmengine.model import ImgDataPreprocessor
from tiny_models import TinyBackbone
from mmad.datasets.transforms import LoadImage, LoadMask, PackInputs, Resize
from mmad.models import PatchCore

model = dict(
    type=PatchCore,
    data_preprocessor=dict(type=ImgDataPreprocessor, bgr_to_rgb=True),
    backbone=dict(type=TinyBackbone),
    num_neighbors=3,
    sigma=2.0)
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type=LoadMask),
    dict(type=LoadImage),
    dict(type=Resize, scale=(60, 52), backend='pillow'),
    dict(type=CenterCrop, crop_size=48),
    dict(type=PackInputs),
]))
"""


def test_pure_python_config(checkpoint, tmp_path, mvtec_root):
    (tmp_path / 'lazy.py').write_text(LAZY)
    cfg = Config.fromfile(tmp_path / 'lazy.py', lazy_import=True)
    state = load_checkpoint(checkpoint)
    state['meta']['cfg'] = cfg.pretty_text
    torch.save(state, tmp_path / 'a.pth')
    image = mvtec_root / 'bottle/test/good/000.png'
    stored, = AnomalyInferencer(
        tmp_path / 'a.pth', device='cpu', modules='tiny_models')(
            image)
    given, = AnomalyInferencer(checkpoint, tmp_path / 'lazy.py', 'cpu')(image)
    assert torch.equal(stored.pred_map, given.pred_map)
    assert stored.pred_map.shape == (48, 48)


@pytest.mark.parametrize('change', [
    lambda state: state.pop('state_dict'),
    lambda state: state.update(state_dict=[1]),
    lambda state: state.update(state_dict={}),
    lambda state: state['state_dict'].pop('memory_bank.rows'),
    lambda state: state['state_dict'].pop('fit_state.fingerprint'),
    lambda state: state['state_dict'].update(x=torch.ones(1)),
    lambda state: state['state_dict'].update({_NAME: torch.ones(0)}),
    lambda state: state['state_dict'].update({_NAME: torch.ones(3)}),
    lambda state: state['state_dict'].update(
        {_NAME: torch.tensor([255, 0], dtype=torch.uint8)}),
    lambda state: state['state_dict'].update(
        {_NAME: torch.tensor(list(b'[1]'), dtype=torch.uint8)}),
    lambda state: state['state_dict'].update({_NAME: 'x'}),
    lambda state: state['state_dict'].update({3: torch.ones(1)}),
    lambda state: state['state_dict'].update(
        {'memory_bank.rows': torch.ones(())}),
    lambda state: state['state_dict'].update({'memory_bank.rows': 'x'}),
    lambda state: state['state_dict'].update(
        {'backbone.body.layer2.bias': torch.ones(99)}),
    lambda state: state.update(meta=3),
    lambda state: state.update(meta=dict(cfg=3)),
    lambda state: state['meta'].update(cfg=''),
    lambda state: state['meta'].update(cfg=state['meta']['cfg'].replace(
        'num_neighbors', 'num_neighbors_')),
    lambda state: state['meta'].update(cfg=state['meta']['cfg'].replace(
        "num_neighbors=3", "num_neighbors='3'")),
])
def test_damaged_checkpoint(checkpoint, tmp_path, change):
    state = load_checkpoint(checkpoint)
    change(state)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth"') as error:
        init_model(tmp_path / 'a.pth', device='cpu', modules='tiny_models')
    assert '\n' not in str(error.value)


def test_damaged_pipeline(checkpoint, tmp_path):
    state = load_checkpoint(checkpoint)
    state['meta']['cfg'] = state['meta']['cfg'].replace(
        "backend='pillow'", "backend='x', color=1")
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='pipeline cannot be built'):
        AnomalyInferencer(
            tmp_path / 'a.pth', device='cpu', modules='tiny_models')


def tensor(text):
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


SPOILED = dict(
    scalar=dict(input_size=torch.tensor(64)),
    one_size=dict(input_size=torch.tensor([64])),
    no_size=dict(input_size=torch.zeros(0, dtype=torch.int64)),
    large_bank={'memory_bank.rows': torch.ones(1).expand(10**9, 10**6)},
    empty_bank={'memory_bank.rows': torch.ones(0, 16)},
    small_bank={'memory_bank.rows': torch.ones(2, 16)},
    narrow_bank={'memory_bank.rows': torch.ones(50, 15)},
    flat_bank={'memory_bank.rows': torch.ones(50)},
    complex_bank={'memory_bank.rows': torch.ones(50, 16) * 1j},
    bool_bank={'memory_bank.rows': torch.ones(50, 16) > 0},
    deep={'fit_state.fingerprint': tensor('[' * 100000)},
    large={'fit_state.fingerprint': tensor('1').expand(10**12)},
    steering={'fit_state.fingerprint': tensor('{"a\\u001b[2J\\nb": 3}')},
    key={'a\x1b[2J\n\n': torch.ones(1)},
    number={7: torch.ones(1)},
)


@pytest.mark.parametrize('change', SPOILED)
def test_a_state_that_is_none_ends_in_a_sentence(checkpoint, tmp_path, change):
    state = load_checkpoint(checkpoint)
    assert state['state_dict']['memory_bank.rows'].shape[1] == 16
    state['state_dict'].update(SPOILED[change])
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(
            InputError, match=r'fit again|does not fit|no fitted') as caught:
        AnomalyInferencer(
            tmp_path / 'a.pth', device='cpu', modules='tiny_models')(
                np.zeros((48, 56, 3), dtype=np.uint8))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize('given', [{}, dict(model={}), 3, [], b'a.py'])
def test_what_is_no_config(checkpoint, given):
    with pytest.raises(InputError, match='`config` must be'):
        init_model(checkpoint, given, 'cpu', 'tiny_models')


@pytest.mark.parametrize('modules', [
    3, None, '', [''], '../own', '.own', 'my file', [3], {'conftest'},
    b'conftest', ['conftest', 'own.py/']
])
def test_what_names_no_modules(checkpoint, modules):
    with pytest.raises(InputError, match='`modules` must be'):
        init_model(checkpoint, device='cpu', modules=modules)
