"""Lazy (pure-Python) configs do what the same config in text does."""
import json

import pytest
import torch
from mmengine.config import Config
from test_configs import ROOT

from mmad.apis import AnomalyInferencer
from mmad.errors import InputError
from mmad.utils import load_checkpoint
from mmad.utils.config_check import check_config
from mmad.utils.config_file import read_config

DEMO = ROOT / 'patchcore/patchcore_demo.py'
LAZY_DEMO = DEMO.with_name('patchcore_demo_lazy.py')
# A class of another package, which no registry knows.
OWN_PARTS = '''
from mmad.models import DemoBackbone


class OwnBackbone(DemoBackbone):
    pass
'''
LAZY = '''
from mmengine.config import read_base

import mmad.datasets.transforms as steps
from mmad.datasets import AnomalyDataset
from own_parts import OwnBackbone

with read_base():
    from {bases}.patchcore.patchcore_demo_lazy import *

pipeline = [dict(type=steps.LoadImage), dict(type=steps.LoadMask),
            dict(type=steps.PackInputs)]
loader = dict(train_dataloader, batch_size=3, num_workers=0,
              persistent_workers=False)
dataset = dict(type=AnomalyDataset, data_root='{data}', category='bottle',
               pipeline=pipeline)
train_dataloader = dict(loader, dataset=dict(dataset, split='train'))
val_dataloader = dict(loader, dataset=dict(dataset, split='test'))
test_dataloader = val_dataloader
model.update(backbone=dict(type=OwnBackbone))
'''
TEXT = '''
_base_ = '{demo}'
custom_imports = dict(imports=['own_parts'])
pipeline = [dict(type='LoadImage'), dict(type='LoadMask'),
            dict(type='PackInputs')]
loader = dict(
    batch_size=3, num_workers=0, persistent_workers=False, dataset=dict(
        data_root='{data}', category='bottle', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader
model = dict(backbone=dict(type='own_parts.OwnBackbone'))
'''


def plain(node):
    """Names of classes in the place of classes, without their modules."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
    return getattr(node, '__name__', node)


def test_the_lazy_demo_is_the_demo(monkeypatch):
    monkeypatch.setenv('MMAD_DATA', '/elsewhere')
    lazy = read_config(LAZY_DEMO)
    assert isinstance(lazy.model.type, type)
    assert lazy.test_dataloader.dataset.data_root == '/elsewhere/demo'
    assert plain(dict(lazy.items())) == plain(dict(read_config(DEMO).items()))


@pytest.fixture(scope='module')
def lazy(tmp_path_factory, mvtec_root):
    """A folder with the same config twice, lazy and in text."""
    folder = tmp_path_factory.mktemp('lazy')
    (folder / 'own_parts.py').write_text(OWN_PARTS)
    (folder / 'text.py').write_text(TEXT.format(demo=DEMO, data=mvtec_root))
    # `read_base` goes by folders only.
    (folder / 'configs').symlink_to(ROOT)
    (folder / 'lazy.py').write_text(
        LAZY.format(bases='.configs', data=mvtec_root))
    return folder


@pytest.fixture(autouse=True)
def own_parts_are_found(request, monkeypatch):
    if 'lazy' in request.fixturenames:
        folder = request.getfixturevalue('lazy')
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv('PYTHONPATH', f'{folder}:{ROOT.parent}')


@pytest.fixture
def fitted_twice(lazy, run_tool):
    for name in ('text', 'lazy'):
        if not (lazy / name).exists():
            result = run_tool(lazy, 'train.py', lazy / f'{name}.py',
                              '--work-dir', name)
            assert result.status == 0, result.err
    return lazy


def test_train_and_test(fitted_twice, run_tool, tmp_path):
    metrics = (fitted_twice / 'text/metrics.json').read_text()
    assert json.loads(metrics)['pixel_auroc'] > 0.5
    assert (fitted_twice / 'lazy/metrics.json').read_text() == metrics
    checkpoint = fitted_twice / 'lazy/epoch_1.pth'
    result = run_tool(tmp_path, 'test.py', fitted_twice / 'lazy.py',
                      checkpoint, '--work-dir', 'test', '--show-dir', 'maps')
    assert result.status == 0, result.err
    assert (tmp_path / 'test/metrics.json').read_text() == metrics


def test_inference_with_the_stored_config(fitted_twice, mvtec_root):
    image = mvtec_root / 'bottle/test/hole/000.png'
    maps = []
    for name in ('text', 'lazy'):
        checkpoint = fitted_twice / name / 'epoch_1.pth'
        text = load_checkpoint(checkpoint)['meta']['cfg']
        assert "type='own_parts.OwnBackbone'" in text
        maps.append(
            AnomalyInferencer(checkpoint, device='cpu',
                              modules='own_parts')(image)[0].pred_map)
        with pytest.raises(InputError, match='only name classes of mmad'):
            AnomalyInferencer(checkpoint, device='cpu')
    assert torch.equal(*maps)


def test_options(lazy, run_tool, tmp_path):
    (tmp_path / 'here.pth').touch()
    result = run_tool(tmp_path, 'print_config.py', lazy / 'lazy.py',
                      '--category', 'screw', '--data-root', 'there',
                      '--cfg-options', 'model.coreset_ratio=0.5',
                      'model.backbone.type=TorchvisionBackbone')
    assert result.status == 0, result.err
    cfg = Config.fromstring(result.out, '.py')
    assert cfg.model.coreset_ratio == 0.5
    assert cfg.model.backbone == dict(
        type='TorchvisionBackbone',
        stages=['layer2', 'layer3'],
        weights='demo')
    assert cfg.model.type == 'mmad.models.PatchCore'
    for loader in ('train_dataloader', 'test_dataloader'):
        assert cfg[loader].dataset.category == 'screw'
        assert cfg[loader].dataset.data_root == 'there'
    assert 'pipeline' not in cfg


def test_browse(lazy, run_tool, tmp_path):
    result = run_tool(tmp_path, 'browse_dataset.py', lazy / 'lazy.py',
                      '--number', '2')
    assert result.status == 0, result.err
    assert len(list(tmp_path.glob('work_dirs/browse/*/*.png'))) == 2


def test_sweep_and_weights(lazy, run_tool, quick_sweep, tmp_path):
    (tmp_path / 'data/cap/train/good').mkdir(parents=True)
    (tmp_path / 'here.pth').touch()
    result = run_tool(tmp_path, quick_sweep, lazy / 'lazy.py', '--weights',
                      'here.pth', '--data-root', tmp_path / 'data',
                      '--work-dir', 'work')
    assert result.status == 0, result.err
    cfg = read_config(tmp_path / 'work/cap/sweep_config/lazy.py')
    assert cfg.model.backbone.weights == 'here.pth'
    # It is in text, and a run takes it.
    assert cfg.model.type == 'mmad.models.PatchCore'
    check_config(cfg, ['train', 'test'])


@pytest.mark.parametrize(('line', 'words'), [
    ('from mmad.models import PatchCor', 'PatchCor'),
    ('from mmad.no_such import PatchCor', 'no_such'),
    ('from nowhere_at_all import PatchCor', 'nowhere_at_all'),
])
def test_what_cannot_be_imported(tmp_path, line, words):
    path = tmp_path / 'lazy.py'
    path.write_text(f'{line}\nmodel = dict(type=PatchCor)\n')
    with pytest.raises(InputError, match=f'lazy.py" .*{words}') as error:
        read_config(path)
    assert '\n' not in str(error.value)


def test_dead_and_misspelt_keys(tmp_path, run_tool):
    path = tmp_path / 'lazy.py'
    start = 'from mmad.models import PatchCore\n'
    path.write_text(f'{start}model = dict(type=PatchCore)\nmodle = 3\n')
    with pytest.raises(InputError, match='`modle`'):
        read_config(path)
    path.write_text(LAZY_DEMO.read_text().replace(
        '.._base_', '.configs._base_').replace('num_neighbors', 'neighbours'))
    (tmp_path / 'configs').symlink_to(ROOT)
    result = run_tool(tmp_path, 'train.py', path)
    assert result.status == 2
    assert result.err == (
        'error: `model` of the config: PatchCore has no `neighbours`; did '
        'you mean `num_neighbors`?\n')


def test_a_refused_option_names_the_class(tmp_path, run_tool):
    path = tmp_path / 'lazy.py'
    path.write_text(
        'from mmad.datasets import FolderDataset\n'
        'test_dataloader = dict(dataset=dict(type=FolderDataset))\n')
    result = run_tool(tmp_path, 'print_config.py', path, '--category', 'x')
    assert 'the FolderDataset of this config has no `category`' in result.err
