import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from mmcv import transforms as mmcv_transforms
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from stored_config_attacks import text_of
from tiny_models import TinyBackbone
from torch import nn

from mmad.apis import init_model
from mmad.apis.stored_config import read_stored_config
from mmad.datasets import transforms
from mmad.errors import InputError
from mmad.models import DemoBackbone, PatchCore
from mmad.registry import MODELS, TRANSFORMS
from mmad.utils import load_checkpoint

HUGE = '0x' + 'f' * 20000


@pytest.mark.parametrize('text', [
    'model = __import__("os").system("true")',
    'import os',
    'model = dict(type="PatchCore")\nmodel.type = "os.system"',
    'model = [x for x in ()]',
    'model = dict(dict)',
    'model = dict(**model)',
    'model = f"{1}"',
    'model = {[]: 1}',
    'model: dict = {}',
    'a, b = 1, 2',
    'model = ' + '[' * 150 + ']' * 150,
    'model = ' + 'dict(a=' * 2000 + ')' * 2000,
    'model = ' + '-' * 100000 + '1',
    '\0',
    'model =',
    7,
    b'\xff',
    ['model'],
    b'model = dict(type="PatchCore")',
    bytearray(b'# coding: utf7\nmodel = dict(type="PatchCore")'),
    np.frombuffer(b'# coding: idna\nmodel = dict(type="SPADE")', np.uint8),
    f'model = dict(type={HUGE})',
    f'model = dict(type=[-{HUGE}])',
    f'model = dict(type="PatchCore", _scope_=({HUGE},))',
    f'model = dict({{{HUGE}: dict(type="x")}})',
    f'model = dict(type="SPADE", sigma={1 << 63})',
    'model = dict(type="SPADE")\n' + 'a = 1\n' * 200000,
])
def test_what_is_no_plain_config(text):
    with pytest.raises(InputError, match='stored in checkpoint'):
        read_stored_config(text, 'a.pth')


def test_deeply_nested():
    model = dict(type='PatchCore')
    for _ in range(60):
        model = dict(type='PatchCore', backbone=model)
    with pytest.raises(InputError, match='may only name'):
        read_stored_config(f'model = {model!r}', 'a.pth')


@pytest.mark.parametrize('text', ['', 'a = 1', 'model = None', 'model = []'])
def test_no_model(text):
    with pytest.raises(InputError, match='has no `model`'):
        read_stored_config(text, 'a.pth')


def test_any_key_and_infinity():
    cfg = Config(
        dict(
            model=dict(type='PatchCore', patch_features={'a b': {
                'c.d': 1
            }}),
            limit=float('inf')))
    found = read_stored_config(cfg.pretty_text, 'a.pth')
    assert found.model.patch_features == {'a b': {'c.d': 1}}


SPELLINGS = {
    PatchCore: [
        'PatchCore', 'mmad.PatchCore', 'mmad.models.PatchCore',
        'mmad.models.detectors.patchcore.PatchCore'
    ],
    DemoBackbone: ['DemoBackbone', 'mmad.models.DemoBackbone'],
    ImgDataPreprocessor: [
        'ImgDataPreprocessor', 'mmengine.ImgDataPreprocessor',
        'mmengine.model.ImgDataPreprocessor'
    ],
    transforms.CenterCrop:
    ['CenterCrop', 'mmad.CenterCrop', 'mmad.datasets.transforms.CenterCrop'],
    mmcv_transforms.CenterCrop: [
        'mmengine.CenterCrop', 'mmcv.transforms.CenterCrop',
        'mmcv.transforms.processing.CenterCrop'
    ],
    mmcv_transforms.Resize:
    ['Resize', 'mmengine.Resize', 'mmad.datasets.transforms.Resize'],
}


@pytest.mark.parametrize(
    ('kind', 'name'),
    [(kind, name) for kind, names in SPELLINGS.items() for name in names])
def test_spellings(kind, name):
    model, step = dict(type='PatchCore'), dict(type='LoadImage')
    if kind is PatchCore:
        model['type'] = name
    elif kind.__name__ in TRANSFORMS:
        step['type'] = name
    else:
        model['backbone'] = dict(type=name)
    found = read_stored_config(
        f'model = {model}\n'
        f'test_dataloader = dict(dataset=dict(pipeline=[{step}]))', 'a.pth')
    pipeline = found.test_dataloader.dataset.pipeline
    assert kind in (found.model.type, pipeline[0].type,
                    found.model.get('backbone', {}).get('type'))


def test_place_decides_on_the_registry():
    with pytest.raises(InputError, match=r'`model\.backbone\.type`'):
        read_stored_config(
            'model = dict(type="PatchCore", backbone=dict(type="LoadImage"))',
            'a.pth')


def test_a_teacher_is_no_detector():
    with pytest.raises(InputError, match='which is no detector'):
        read_stored_config('model = dict(type="PatchTeacher")', 'a.pth')


OWN = ('custom_imports = dict(imports=["mine.parts", "no name", 3])\n'
       'model = dict(type="PatchCore", backbone=dict(type="TinyBackbone"))')


def test_own_class_needs_its_module():
    with pytest.raises(
            InputError,
            match=
        (r"`model\.backbone\.type` 'TinyBackbone'.*`config=`, or name the "
         r"modules that define it: modules=\['mine\.parts'\]\.$")):
        read_stored_config(OWN, 'a.pth')
    with pytest.raises(InputError, match='TinyBackbone'):
        read_stored_config(OWN, 'a.pth', ['tiny', 'tiny_models.parts', 'os'])
    found = read_stored_config(OWN, 'a.pth', ['tiny_models'])
    assert found.model.backbone.type is TinyBackbone


@pytest.mark.usefixtures('otherpkg')
def test_backbones_of_other_packages():
    text = ('model = dict(type="PatchCore", backbone=dict('
            'type="otherpkg.ResNet", out_indices=(1, ), init_cfg=dict('
            'type="Pretrained", checkpoint="none.pth")))')
    with pytest.raises(InputError, match=r'otherpkg\.ResNet'):
        read_stored_config(text, 'a.pth')
    found = read_stored_config(text, 'a.pth', ['otherpkg'])
    assert found.model.backbone.type.__name__ == 'ResNet'
    assert found.model.backbone.init_cfg is None
    for name in ('ResNet', 'other.ResNet', 'otherpkg.Conv2d'):
        with pytest.raises(InputError, match=name):
            read_stored_config(
                text.replace('otherpkg.ResNet', name), 'a.pth', ['otherpkg'])


def test_own_class_under_the_name_of_ours(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'DemoBackbone', TinyBackbone)
    with pytest.raises(InputError, match='DemoBackbone'):
        read_stored_config(
            OWN.replace('TinyBackbone', 'DemoBackbone'), 'a.pth')


def test_modules(fitted, tmp_path, monkeypatch):
    checkpoint = f'{fitted.work_dir}/epoch_1.pth'
    with pytest.raises(InputError, match='TinyBackbone'):
        init_model(checkpoint, device='cpu')
    with pytest.raises(InputError, match='module "none_such" of `modules`'):
        init_model(checkpoint, device='cpu', modules='none_such')
    # A package whose submodule registers the class.
    (tmp_path / 'my_parts').mkdir()
    (tmp_path / 'my_parts' / '__init__.py').write_text('from . import inner')
    (tmp_path / 'my_parts' / 'inner.py').write_text(
        'from tiny_models import TinyBackbone\n'
        'from mmad.registry import MODELS\n'
        '@MODELS.register_module()\nclass TinyOwn(TinyBackbone):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(MODELS, '_module_dict', dict(MODELS.module_dict))
    state = load_checkpoint(checkpoint)
    state['meta']['cfg'] = state['meta']['cfg'].replace(
        'TinyBackbone', 'TinyOwn')
    state = dict(state_dict=state['state_dict'], meta=state['meta'])
    torch.save(state, tmp_path / 'own.pth')
    with pytest.raises(InputError, match='TinyOwn'):
        init_model(tmp_path / 'own.pth', device='cpu')
    with pytest.raises(InputError, match='it was made with backbone'):
        init_model(tmp_path / 'own.pth', device='cpu', modules=['my_parts'])


@pytest.mark.parametrize('key', ['a\x1b[2J', 'a\nb', '\u202e', 'x' * 5000])
def test_a_key_does_not_steer_the_terminal(key):
    text = text_of(dict(model={'type': 'PatchCore', key: dict(type='x')}))
    with pytest.raises(InputError) as caught:
        read_stored_config(text, 'a.pth')
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(('name', 'allowed'), [('Net', True),
                                               ('Trainer', False),
                                               ('Linear', False),
                                               ('function', False),
                                               ('None_such', False)])
def test_classes_that_are_not_registered(monkeypatch, name, allowed):
    """Of modules that the caller names, models and transforms only."""
    module = ModuleType('own_stuff')
    module.Net = type('Net', (nn.Module, ), dict(__module__='own_stuff'))
    module.Trainer = type('Trainer', (), dict(__module__='own_stuff'))
    module.Linear, module.function = nn.Linear, len
    monkeypatch.setitem(sys.modules, 'own_stuff', module)
    text = ("model = dict(type='PatchCore', "
            f"backbone=dict(type='own_stuff.{name}'))\n")
    if allowed:
        config = read_stored_config(text, 'a.pth', ['own_stuff'])
        assert config.model.backbone.type is module.Net
    else:
        with pytest.raises(InputError, match='only name classes of mmad'):
            read_stored_config(text, 'a.pth', ['own_stuff'])
    with pytest.raises(InputError, match='only name classes of mmad'):
        read_stored_config(text, 'a.pth')
