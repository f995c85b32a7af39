import copy
import random
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from mmad.errors import InputError
from mmad.models import PatchCore
from mmad.models.backbones.build_backbone import _WRAPPERS
from mmad.registry import MODELS
from mmad.utils.config_check import check_config, check_entry_types
from mmad.utils.config_file import read_config
from mmad.utils.config_parts import _BACKBONE_KEYS

ROOT = Path(__file__).resolve().parents[2] / 'configs'
LEAVES = sorted(
    path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
MKD = ROOT / 'mkd' / 'mkd_demo.py'
FYD = ROOT / 'fyd' / 'fyd_demo.py'
PATCHCORE = ROOT / 'patchcore' / 'patchcore_demo.py'


@pytest.fixture(scope='module')
def configs():
    return [read_config(path) for path in (PATCHCORE, MKD, FYD)]


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_shipped_configs_pass(path):
    cfg = read_config(path)
    check_entry_types(cfg)
    check_config(cfg, ['train'] + ['test'] * ('test_dataloader' in cfg))


def places(part, path=()):
    """Paths of all dicts in a config that something reads key by key."""
    found = []
    if isinstance(part, dict):
        # Names in these are free.
        if path and path[-1] not in ('default_hooks', 'custom_keys'):
            found.append(path)
        for key, value in part.items():
            # Plain dicts that detectors and transforms look after.
            if key not in ('attribution', 'ica', 'fca', 'fas'):
                found += places(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            found += places(value, (*path, index))
    return found


def at(cfg, path):
    for step in path:
        cfg = cfg[step]
    return cfg


@pytest.mark.parametrize('seed', range(40))
def test_an_unknown_key_anywhere_is_refused(configs, seed):
    rng = random.Random(seed)
    cfg = copy.deepcopy(rng.choice(configs))
    path = rng.choice([
        path for path in places(cfg._cfg_dict)
        if at(cfg, path) or path == ('optim_wrapper', )
    ])
    at(cfg, path)['nonesuch'] = 1
    with pytest.raises(InputError, match=r'^[^\n]*$') as error:
        check_config(cfg, ['train', 'test'])
    if path != ('optim_wrapper', ):
        assert 'nonesuch' in str(error.value)
        assert '.'.join(map(str, path)) in str(error.value)


@pytest.mark.parametrize('seed', range(20))
def test_a_misspelt_type_anywhere_is_refused(configs, seed):
    rng = random.Random(seed)
    cfg = copy.deepcopy(rng.choice(configs))
    path = rng.choice(
        [path for path in places(cfg._cfg_dict) if 'type' in at(cfg, path)])
    part = at(cfg, path)
    part['type'] = right = part['type'][:-1]
    with pytest.raises(InputError, match=f'{path[-1]}.type.*"{right}"'):
        check_config(cfg, ['train', 'test'])


def numbers(part, path=()):
    if isinstance(part, dict | list):
        items = part.items() if isinstance(part, dict) else enumerate(part)
        return [
            one for key, value in items
            for one in numbers(value, (*path, key))
        ]
    plain = isinstance(part, int | float) and not isinstance(part, bool)
    return [path] if plain else []


@pytest.mark.parametrize('seed', range(30))
def test_a_string_for_a_number_is_refused(configs, seed):
    rng = random.Random(seed)
    cfg = copy.deepcopy(rng.choice(configs))
    path = rng.choice([
        path for path in numbers(cfg._cfg_dict)
        # Nested lists of channels, and what torch checks itself.
        if not {'widths', 'optimizer', 'custom_keys', 'T_max'} & set(path)
    ])
    at(cfg, path[:-1])[path[-1]] = 'abc'
    with pytest.raises(InputError, match='abc'):
        check_config(cfg, ['train', 'test'])


@pytest.mark.parametrize(('key', 'value'), [
    ('train_dataloader.batch_size', 0),
    ('val_dataloader.batch_size', -1),
    ('test_dataloader.batch_size', 'x'),
    ('test_dataloader.batch_size', 1.5),
    ('test_dataloader.num_workers', -1),
    ('train_cfg.max_epochs', 0),
    ('train_cfg.max_epochs', 1.5),
    ('train_cfg.max_epochs', 'ten'),
    ('train_cfg.val_interval', 0),
    ('randomness.seed', 2**32),
    ('randomness', dict()),
    ('log_level', 'LOUD'),
    ('sync_bn', 'x'),
    ('env_cfg.mp_cfg.mp_start_method', 'x'),
    ('test_evaluator', []),
    ('test_evaluator', None),
    ('train_cfg', None),
    ('test_cfg', None),
    ('train_dataloader.sampler', None),
    ('train_dataloader.collate_fn', 3),
    ('auto_scale_lr', dict(enable=True)),
    ('custom_hooks.0.priority', 'x'),
    ('default_hooks.logger', dict(interval=3)),
    ('custom_hooks', [3]),
    ('model.backbone', dict(type='TorchvisionBackbone', name='resnet18')),
    ('model.backbone', None),
    ('optim_wrapper', dict(type='OptimWrapper')),
    ('optim_wrapper.optimizer', None),
    ('optim_wrapper.paramwise_cfg', dict(custom_key=dict())),
    ('optim_wrapper.paramwise_cfg', dict(custom_keys=dict(a=dict(lr_mul=1)))),
    ('optim_wrapper.clip_grad', dict(max_norm=1, typ='norm')),
    ('optim_wrapper.clip_grad', dict(type='none')),
    ('optim_wrapper.clip_grad', dict(norm_type=2)),
    ('param_scheduler', dict(type='StepLR', step_sise=3)),
])
def test_values_out_of_range(configs, key, value):
    cfg = copy.deepcopy(configs[1])
    cfg.merge_from_dict({key: None})
    *path, last = [
        int(step) if step.isdigit() else step for step in key.split('.')
    ]
    at(cfg,
       path)[last] = ConfigDict(value) if isinstance(value, dict) else value
    with pytest.raises(InputError, match=r'^[^\n]*$'):
        check_config(cfg, ['train', 'test'])


@pytest.mark.parametrize('key', [
    'model', 'train_dataloader', 'val_dataloader', 'train_cfg',
    'optim_wrapper', 'val_evaluator', 'default_hooks', 'custom_hooks',
    'env_cfg', 'randomness', 'visualizer', 'work_dir', 'load_from',
    'log_level', 'resume'
])
@pytest.mark.parametrize('value', [3.5, object])
def test_entries_of_another_type(configs, key, value):
    cfg = copy.deepcopy(configs[0])
    cfg[key] = value
    with pytest.raises(InputError, match=f'`{key}` of the config must be'):
        check_entry_types(cfg)


@pytest.mark.parametrize('needs', [['train'], ['test'], ['train', 'test']])
def test_an_empty_config(needs):
    with pytest.raises(InputError, match='no `model`'):
        check_config(Config(), needs)
    with pytest.raises(InputError, match=f'no `{needs[0]}_dataloader`'):
        check_config(Config(dict(model=dict(type='PatchCore'))), needs)


@pytest.mark.parametrize('number', [1, 2])
@pytest.mark.parametrize('base', ['folder', 'one_class', 'mvtec_ad'])
def test_training_by_gradients_shuffles(configs, number, base):
    cfg = copy.deepcopy(configs[number])
    data = read_config(ROOT / '_base_' / 'datasets' / f'{base}.py')
    for key, value in data.items():
        cfg[key] = value
    with pytest.raises(InputError, match='does not shuffle'):
        check_config(cfg, ['train'])
    cfg.train_dataloader.sampler.shuffle = True
    check_config(cfg, ['train'])
    del cfg.train_dataloader.sampler['shuffle']
    check_config(cfg, ['train'])


@pytest.mark.parametrize('place', ['val_evaluator', 'test_evaluator'])
@pytest.mark.parametrize('kind', ['ImageMetric', 'PixelMetric'])
def test_metrics_of_the_same_names(configs, place, kind):
    cfg = copy.deepcopy(configs[0])
    twice = [
        dict(type=kind),
        dict(type='DumpResults', out_file_path='a.pkl'),
        dict(type=f'mmad.{kind}', prefix='')
    ]
    cfg[place] = twice
    with pytest.raises(InputError, match=f'`{place}`.*two.*prefix'):
        check_config(cfg, ['train', 'test'])
    cfg[place] = dict(type='Evaluator', metrics=twice)
    with pytest.raises(InputError, match=f'`{place}.metrics`.*two.*prefix'):
        check_config(cfg, ['train', 'test'])
    twice[2]['prefix'] = 'second'
    cfg[place] = twice
    check_config(cfg, ['train', 'test'])


@pytest.mark.parametrize('options', [
    dict(backend='nonsense'),
    dict(mode='nonsense'),
    dict(beckend='eager'),
    dict(backend='eager', mode='default', options=dict(a=1))
])
def test_what_torch_cannot_compile_with(configs, options):
    cfg = copy.deepcopy(configs[0])
    cfg.compile = options
    with pytest.raises(InputError, match='`compile'):
        check_config(cfg, ['train', 'test'])
    for fine in (dict(backend='eager'), True, False, None):
        cfg.compile = fine
        check_config(cfg, ['train', 'test'])


@pytest.mark.parametrize(('key', 'value'), [
    ('tiles', dict(size=64, overlap=32)),
    ('precision', 'bfloat16'),
    ('compile', True),
    ('compile', dict(backend='eager')),
])
def test_what_any_backbone_may_be_asked_for(configs, key, value):
    cfg = copy.deepcopy(configs[0])
    cfg.model.backbone[key] = value
    check_config(cfg, ['train', 'test'])
    assert isinstance(MODELS.build(cfg.model), PatchCore)


def test_all_that_a_backbone_may_be_asked_for_is_known():
    assert set(_WRAPPERS) <= set(_BACKBONE_KEYS)
