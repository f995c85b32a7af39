import copy
import random
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import ROOT, TinyBackbone
from mmcv import transforms as mmcv_transforms
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from torch import nn

from mmad.apis import AnomalyInferencer, init_model
from mmad.apis.stored_config import read_stored_config
from mmad.datasets import transforms
from mmad.errors import InputError
from mmad.models import DemoBackbone, PatchCore
from mmad.registry import MODELS, TRANSFORMS
from mmad.utils import load_checkpoint

HUGE = '0x' + 'f' * 20000
CONFIGS = [
    'patchcore/patchcore_demo.py',
    'mkd/mkd_demo.py',
    'fyd/fyd_demo.py',
    'uninformed_students/uninformed_students_p33_demo.py',
]


def attacks(run):
    """What must not be built; each of it would make the file ``run``."""
    touch = f'touch {run}'
    code = f'open({str(run)!r}, "w")'
    return [
        dict(type='os.system', command=touch),
        dict(type='posix.system', command=touch),
        dict(type='subprocess.Popen', args=touch, shell=True),
        dict(type='subprocess.check_output', args=touch, shell=True),
        dict(type='builtins.open', file=str(run), mode='w'),
        dict(type='io.open', file=str(run), mode='w'),
        dict(type='pathlib.Path.touch', self=str(run)),
        dict(type='timeit.timeit', stmt=code, number=1),
        dict(type='timeit.Timer', stmt=code),
        dict(type='builtins.eval', source=code),
        dict(type='cProfile.run', statement=code),
        dict(
            type='mmengine.Config.fromstring', cfg_str=code,
            file_format='.py'),
        dict(
            type='mmengine.config.Config.fromstring',
            cfg_str=code,
            file_format='.py'),
        dict(
            type='mmengine.model.ImgDataPreprocessor.os.system',
            command=touch),
        dict(type='mmad.utils.setup_env.os.system', command=touch),
        dict(type='mmad.apis.model.import_module', name='this'),
        dict(type='mmad.models.PatchCore.load_state_dict'),
        dict(type='torch.load', f=str(run), weights_only=False),
        dict(
            type='torch.hub.load',
            repo_or_dir=str(run),
            model='x',
            source='local'),
        dict(type='system', _scope_='os', command=touch),
        dict(type='Popen', _scope_='subprocess', args=touch, shell=True),
        dict(type='PatchCore', _scope_='os'),
        dict(type='LoadImage', _scope_='this'),
        dict(type='this.LoadImage'),
        dict(type='RandomResize', scale=(1, 1), resize_type='os.system'),
        dict(
            type='RandomChoiceResize',
            scales=[(1, 1)],
            resize_type='subprocess.Popen'),
        dict(
            type='LoadImageFromFile',
            backend_args=dict(
                backend='memcached',
                server_list_cfg='',
                client_cfg='',
                sys_path=str(run.parent))),
        dict(
            type='LoadImageFromFile',
            file_client_args=dict(
                backend='memcached', sys_path=str(run.parent))),
        dict(
            type='PatchCore',
            init_cfg=dict(type='Pretrained', checkpoint=str(run))),
        dict(
            type='CenterCrop',
            crop_size=1,
            auto_pad=True,
            pad_cfg=dict(type='os.system', command=touch)),
        dict(
            type='Compose',
            transforms=[[dict(type='os.system', command=touch)]]),
        dict(
            type='KeyMapper',
            transforms=dict(type='LoadImageFromFile'),
            mapping=dict(img_path='keep_ratio')),
        dict(type=['os.system'], command=touch),
        dict(type=None),
        dict(type=''),
        dict(type='.'),
    ]


def places(node, path=()):
    """All paths to dicts, lists and values in a tree."""
    yield path
    items = (
        node.items() if isinstance(node, dict) else
        enumerate(node) if isinstance(node, list | tuple) else ())
    for key, value in items:
        yield from places(value, (*path, key))


def put(tree, path, value):
    """The tree with another value in one place."""
    if not path:
        return copy.deepcopy(value)
    if isinstance(tree, dict):
        return {
            key: put(old, path[1:], value) if key == path[0] else old
            for key, old in tree.items()
        }
    return type(tree)(put(old, path[1:], value) if number == path[0] else old
                      for number, old in enumerate(tree))


def stored(name):
    cfg = Config.fromfile(ROOT / 'configs' / name).to_dict()
    return {key: cfg[key] for key in ('model', 'test_dataloader')}


def text_of(tree):
    return '\n'.join(f'{key} = {value!r}' for key, value in tree.items())


def attempts(name, run):
    tree = stored(name)
    pipeline = ('test_dataloader', 'dataset', 'pipeline')
    for top in (('model', ), pipeline):
        part = tree
        for key in top:
            part = part[key]
        # In place of the whole pipeline it is no pipeline.
        for path in places(part) if top == (
                'model', ) else [path for path in places(part) if path]:
            for attack in attacks(run):
                yield put(tree, (*top, *path), attack)
                yield put(tree, (*top, *path), [attack])


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('number',
                         [150, pytest.param(None, marks=pytest.mark.slow)])
def test_nothing_in_any_place_runs(tmp_path, name, number):
    run = tmp_path / 'run'
    modules = set(sys.modules)
    trees = list(attempts(name, run))
    if number is not None:
        trees = random.Random(0).sample(trees, number)
    for tree in trees:
        with pytest.raises(InputError, match=r'a\.pth"') as caught:
            read_stored_config(text_of(tree), 'a.pth')
        assert '\n' not in str(caught.value)
        assert not run.exists()
    assert 'this' not in set(sys.modules) - modules


@pytest.mark.parametrize('number', range(len(attacks(ROOT))))
@pytest.mark.parametrize('path', [
    ('model', ),
    ('model', 'backbone'),
    ('model', 'data_preprocessor'),
    ('model', 'sigma'),
    ('test_dataloader', 'dataset', 'pipeline', 0),
    ('test_dataloader', 'dataset', 'pipeline', 2, 'scale'),
])
def test_the_inferencer_runs_nothing(tmp_path, fitted, path, number):
    cfg = fitted.cfg.to_dict()
    attack = attacks(tmp_path / 'run')[number]
    state = dict(
        state_dict=fitted.model.state_dict(),
        meta=dict(
            cfg=text_of({
                key: put(cfg, path, attack)[key]
                for key in ('model', 'test_dataloader')
            })))
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth"'):
        AnomalyInferencer(tmp_path / 'a.pth', device='cpu', modules='conftest')
    assert not (tmp_path / 'run').exists()


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


@pytest.mark.parametrize('pipeline', attacks(ROOT))
def test_a_pipeline_is_a_list(pipeline):
    text = text_of(
        dict(
            model=dict(type='PatchCore'),
            test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    assert 'test_dataloader' not in read_stored_config(text, 'a.pth')


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
        read_stored_config(OWN, 'a.pth', ['conf', 'conftest.parts', 'os'])
    found = read_stored_config(OWN, 'a.pth', ['conftest'])
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
        'from conftest import TinyBackbone\nfrom mmad.registry import MODELS\n'
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


TEACHER = dict(
    type='UninformedStudents',
    scales=(dict(network=dict(type='PatchNetwork', patch_size=17)), ))


@pytest.mark.parametrize('key', ['teacher', 'weights'])
@pytest.mark.parametrize('place', [('backbone', ), ('data_preprocessor', ),
                                   ('sigma', ), ('patch_features', )])
@pytest.mark.parametrize('nested', [False, True])
def test_no_file_of_weights_is_opened(tmp_path, monkeypatch, fitted, key,
                                      place, nested):
    """At any depth, whatever the part."""
    opened = []

    def download(*args):
        opened.append(args)
        raise OSError('there is no network')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr('torch.hub.download_url_to_file', download)
    part = put(TEACHER, ('scales', 0),
               dict(TEACHER['scales'][0], teacher='http://127.0.0.1:9/a.pth'))
    if key == 'weights':
        part = dict(type='DemoBackbone', weights='http://127.0.0.1:9/a.pth')
    if nested:
        part = dict(type='PatchCore', backbone=part)
    cfg = fitted.cfg.to_dict()
    cfg['model'] = dict(cfg['model'], **{place[0]: part})
    torch.save(
        dict(
            state_dict=fitted.model.state_dict(),
            meta=dict(
                cfg=text_of(
                    {name: cfg[name]
                     for name in ('model', 'test_dataloader')}))),
        tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth"'):
        AnomalyInferencer(tmp_path / 'a.pth', device='cpu', modules='conftest')
    assert not opened
    assert not (tmp_path / 'torch').exists()


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
