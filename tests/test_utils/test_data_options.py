"""Another data set in a config, against the config written for it by hand."""
import copy
import json
from pathlib import Path

import pytest
from config_texts import ROOT
from mmengine.config import Config

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils.config_file import read_config
from mmad.utils.data_options import (
    find_data_set,
    set_in_data_set,
    use_data_set,
)

CONFIGS = ROOT / 'configs'
FOLDER = CONFIGS / '_base_' / 'datasets'
DATA = sorted(
    path.stem for path in FOLDER.glob('*.py')
    if path.stem not in ('whole_images', 'natural_images'))
LEAVES = sorted(
    path for path in CONFIGS.glob('*/*.py') if '_base_' not in path.parts)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOAD = [dict(type='LoadImage'), dict(type='LoadMask')]
RD_POSE = [
    *LOAD,
    dict(type='Resize', scale=(256, 256), backend='pillow'),
    dict(type='RandomPose', angle=10, crop_size=224, seed=0)
]
# Those that set pipelines or metrics themselves, and others.
OWN_PIPELINES = [
    'mkd_resnet18_mvtec', 'uninformed_students_p17_mvtec',
    'patchcore_dinov2-small_mvtec', 'patchcore_wrn50_official-1pct_mvtec-320',
    'mkd_vgg16_cifar10'
]
OTHERS = [
    'spade_resnet18_mvtec', 'padim_wrn50_mvtec',
    'patchcore_resnet18_1pct_mvtec', 'fyd_resnet18_10e_mvtec',
    'fyd_resnet18_fas_rd-mvtec', 'padim_resnet18_tiles_folder'
]


def bases(path):
    return [(path.parent / base).resolve()
            for base in Config._get_base_files(str(path))]


def data_file(path):
    """The innermost file about a whole data set below a config."""
    if path.parent == FOLDER and all(base.stem == 'whole_images'
                                     for base in bases(path)):
        return path
    return next(filter(None, map(data_file, bases(path))), None)


def swap(path, old, new, folder):
    """Write a config anew, with another data set file among its bases."""
    text = path.read_text()
    for name in Config._get_base_files(str(path)):
        base = (path.parent / name).resolve()
        if base == old:
            base = new
        elif data_file(base) == old:
            base = swap(base, old, new, folder)
        text = text.replace(f"'{name}'", f"'{base}'")
    (folder / path.name).write_text(text)
    return folder / path.name


def combine(name, data):
    cfg = read_config(name)
    use_data_set(cfg, data)
    return cfg


def plain(node):
    if isinstance(node, Config):
        node = node.to_dict()
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
    return node


@pytest.mark.parametrize('data', DATA)
@pytest.mark.parametrize('name', [*OWN_PIPELINES, *OTHERS])
def test_equals_the_config_written_for_the_data_set(name, data, tmp_path):
    path, = CONFIGS.glob(f'*/{name}.py')
    new = FOLDER / f'{data}.py'
    expected = read_config(swap(path, data_file(path), new, tmp_path))
    theirs = Config.fromfile(new)
    if name in OWN_PIPELINES:
        for loader in LOADERS:
            dataset = expected[loader].dataset
            dataset.pipeline = {
                'rd_mvtec_ad': RD_POSE,
                'one_class': [],
                'cifar10_224': []
            }.get(data, LOAD) + [
                step for step in dataset.pipeline
                if not step.type.startswith('Load')
            ]
    if name == 'mkd_vgg16_cifar10':
        for loader in LOADERS:
            # It is a part of the data, not of the method.
            dataset = expected[loader].dataset
            del dataset['name']
            if data in ('one_class', 'cifar10_224'):
                dataset['name'] = 'CIFAR10'
    if name == 'mkd_resnet18_mvtec':
        has_masks = any(metric.type == 'PixelMetric'
                        for metric in theirs.val_evaluator)
        expected.val_evaluator = list(theirs.val_evaluator)
        if has_masks and data != 'mvtec_ad_128':
            expected.val_evaluator.append(
                dict(
                    type='PixelMetric',
                    anomalous_only=True,
                    prefix='anomalous_only'))
        expected.test_evaluator = expected.val_evaluator
    assert plain(combine(name, data)) == plain(expected)


def test_what_the_files_about_data_inherit():
    # Else it is not known which of two of them is about the data.
    for name in DATA:
        if name not in ('mvtec_ad_128', 'mvtec_ad-320', 'mvtec_ad_lanczos',
                        'cifar10_224'):
            assert data_file(FOLDER / f'{name}.py') == FOLDER / f'{name}.py'


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_its_own_data_set_changes_nothing(path):
    before = read_config(path)
    own = data_file(path)
    if own is None or own.stem == 'natural_images':
        with pytest.raises(InputError, match='inherits from no file with a'):
            use_data_set(before, 'visa')
        return
    cfg = copy.deepcopy(before)
    use_data_set(cfg, own.stem)
    source = Config.fromfile(own).train_dataloader.dataset.type
    if before.train_dataloader.dataset.type == source:
        assert plain(cfg) == plain(before)
        assert cfg.filename == before.filename
    else:  # a demo, on data of its own
        assert cfg.train_dataloader.dataset.type == source
        assert Path(cfg.filename).stem == f'{path.stem}_on_{own.stem}'


def test_twice_is_the_last(tmp_path):
    first = combine('spade_resnet18_mvtec', 'visa')
    assert Path(first.filename).name == 'spade_resnet18_mvtec_on_visa.py'
    assert first.test_dataloader.dataset.data_root == 'data/visa'
    second = combine('spade_resnet18_mvtec', 'btad')
    assert second.test_dataloader.dataset.data_root == 'data/btad'


@pytest.fixture
def write(tmp_path):
    """Write a config over one of mmad, with some lines more."""

    def write_config(name, lines='', suffix='.py'):
        base, = CONFIGS.rglob(f'{name}.py')
        path = tmp_path / f'mine{len(list(tmp_path.iterdir()))}{suffix}'
        path.write_text(f'_base_ = {str(base)!r}\n{lines}\n')
        return path

    return write_config


def test_folder_and_category_of_the_config_stay_on_the_same_images(write):
    path = write(
        'padim_resnet18_mvtec', "dataset = dict(data_root='there', "
        "category='pill', indices=5)\n" +
        '\n'.join(f'{loader} = dict(dataset=dataset)' for loader in LOADERS))
    for loader in LOADERS:
        same = combine(path, 'rd_mvtec_ad')[loader].dataset
        assert (same.data_root, same.category, same.indices) == ('there',
                                                                 'pill', 5)
        assert same.pipeline[3].type == 'RandomPose'
        other = combine(path, 'visa')[loader].dataset
        assert (other.data_root, other.category,
                other.indices) == ('data/visa', 'candle', 5)


def test_a_loading_step_of_the_config_stays(write):
    path = write(
        'padim_resnet18_mvtec', "train_dataloader = dict(dataset=dict("
        "pipeline=[dict(type='LoadImage', bit_depth=12), "
        "dict(type='PackInputs')]))")
    cfg = combine(path, 'visa')
    assert plain(cfg.train_dataloader.dataset.pipeline) == [
        dict(type='LoadImage', bit_depth=12),
        dict(type='PackInputs')
    ]
    assert cfg.test_dataloader.dataset.pipeline[0] == dict(type='LoadImage')


@pytest.mark.parametrize(('lines', 'data', 'expected'), [
    ("val_evaluator = [dict(type='PixelMetric', fpr_limit=0.1)]", 'visa',
     [dict(type='PixelMetric', fpr_limit=0.1)]),
    ("val_evaluator = [dict(type='PixelMetric', fpr_limit=0.1)]", 'one_class',
     [dict(type='ImageMetric')]),
    ("val_evaluator = dict(_delete_=True, type='Other', prefix='a')",
     'one_class', [dict(type='Other', prefix='a')]),
    ("val_evaluator = [dict(type='ImageMetric'), dict(type='Other')]",
     'one_class', [dict(type='ImageMetric'),
                   dict(type='Other')]),
])
def test_metrics_of_the_config(write, lines, data, expected):
    cfg = combine(write('padim_resnet18_mvtec', lines), data)
    assert plain(cfg.val_evaluator) == expected
    assert plain(cfg.test_evaluator) == plain(
        Config.fromfile(FOLDER / f'{data}.py').test_evaluator)


def test_validation_that_the_config_turns_off_stays_off(write):
    path = write('padim_resnet18_mvtec',
                 'val_dataloader = val_evaluator = val_cfg = None')
    cfg = combine(path, 'visa')
    assert cfg.val_dataloader is None
    assert cfg.val_evaluator is None


@pytest.fixture
def own_class(tmp_path, monkeypatch):
    """A module that defines a data set, which nothing has imported."""
    (tmp_path / 'own_module').mkdir()
    (tmp_path / 'own_module/own_cameras.py').write_text(
        'from mmad.datasets import AnomalyDataset\n'
        'from mmad.registry import DATASETS\n'
        '@DATASETS.register_module(force=True)\n'
        'class Cameras(AnomalyDataset):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path / 'own_module')
    yield
    DATASETS.module_dict.pop('Cameras', None)


def test_a_file_of_ones_own(write, own_class, monkeypatch):
    lines = [
        "custom_imports = dict(imports='own_cameras')",
        "dataset = dict(type='Cameras', data_root='{{$CAMERAS:none}}')",
        *(f'{loader} = dict(dataset=dataset)' for loader in LOADERS)
    ]
    data = write('whole_images', '\n'.join(lines))
    monkeypatch.setenv('CAMERAS', '/cameras')
    config = write('mkd_resnet18_mvtec',
                   "custom_imports = dict(imports=['json'])")
    cfg = combine(config, str(data))
    dataset = cfg.train_dataloader.dataset
    assert (dataset.type, dataset.data_root) == ('Cameras', '/cameras')
    assert dataset.pipeline[2].scale == (128, 128)
    assert cfg.custom_imports.imports == ['json', 'own_cameras']
    assert Path(cfg.filename).stem == f'{config.stem}_on_{data.stem}'


def test_several_data_sets_as_one(write):
    lines = [
        "part = dict(type='AnomalyDataset', pipeline={{_base_.pipeline}})",
        "dataset = dict(_delete_=True, type='ConcatDataset', datasets=["
        "dict(part, data_root='a'), dict(part, data_root='b')])",
        *(f'{loader} = dict(dataset=dataset)' for loader in LOADERS)
    ]
    cfg = combine('mkd_resnet18_mvtec',
                  str(write('whole_images', '\n'.join(lines))))
    for loader in LOADERS:
        parts = cfg[loader].dataset.datasets
        assert [part.data_root for part in parts] == ['a', 'b']
        assert [part.pipeline[2].scale for part in parts] == [(128, 128)] * 2
        assert 'pipeline' not in cfg[loader].dataset


@pytest.mark.parametrize('suffix', ['.yaml', '.json'])
def test_configs_in_other_languages(tmp_path, suffix):
    base, = CONFIGS.rglob('padim_resnet18_mvtec.py')
    path = tmp_path / f'mine{suffix}'
    path.write_text(
        json.dumps(
            dict(_base_=str(base), train_dataloader=dict(batch_size=4))))
    cfg = combine(path, 'visa')
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_dataloader.dataset.type == 'VisA'
    assert Path(cfg.filename).name == f'mine_on_visa{suffix}'


def test_pure_python_config(tmp_path):
    # It can import a file about data that has no bases itself.
    (tmp_path / 'data.py').write_text((FOLDER / 'mvtec_ad.py').read_text())
    path = tmp_path / 'mine.py'
    path.write_text('from mmengine.config import read_base\n'
                    'from mmad.models import PaDiM\n'
                    'with read_base():\n    from .data import *\n'
                    'model = dict(type=PaDiM)\n'
                    'train_dataloader.update(batch_size=4)\n')
    cfg = combine(path, 'visa')
    visa = Config.fromfile(FOLDER / 'visa.py')
    assert cfg.train_dataloader == dict(visa.train_dataloader, batch_size=4)
    assert cfg.test_dataloader == visa.test_dataloader


@pytest.mark.parametrize(('data', 'message'), [
    ('vissa', r"--data 'vissa'.*did you mean visa; or give the path"),
    ('xyzzy', r'it has any_pose_demo, btad, .*rd_mvtec_ad, visa; or give'),
    ('visa\n', r"'visa\\n'"),
    ('nowhere/visa.py', r'"nowhere/visa.py" does not exist; check the path'),
    ('whole_images', 'is no data set to fit a detector to'),
    ('natural_images', 'is no data set to fit a detector to'),
    (str(ROOT / 'configs'), r'is a folder.*--data-root'),
    (str(CONFIGS / 'padim/padim_demo.py'), 'but a data set file sets only'),
])
def test_refused(data, message):
    with pytest.raises(InputError, match=message):
        combine('padim_resnet18_mvtec', data)


def test_a_folder_does_not_hide_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'visa').mkdir()
    assert find_data_set('visa') == FOLDER / 'visa.py'
    assert find_data_set('visa.py') == FOLDER / 'visa.py'
    (tmp_path / 'visa').rmdir()
    (tmp_path / 'visa.py').touch()
    assert find_data_set('visa.py') == Path('visa.py')


def test_key_of_a_data_set_and_of_all_in_a_wrapper():
    one = dict(type='A', category='a')
    set_in_data_set(one, 'category', 'b')
    assert one == dict(type='A', category='b')
    parts = [
        dict(type='A', data_root='r', category='a'),
        dict(
            type='RepeatDataset',
            dataset=dict(type='A', data_root='r', category='b')),
        dict(type='B')
    ]
    wrapper = dict(type='ConcatDataset', datasets=parts)
    set_in_data_set(wrapper, 'data_root', 's')
    assert parts[0]['data_root'] == parts[1]['dataset']['data_root'] == 's'
    assert 'data_root' not in parts[2]
    with pytest.raises(
            InputError,
            match=r'--category does not apply: the data sets in the '
            r'ConcatDataset .* differ in their `category` \(a, b\)'):
        set_in_data_set(wrapper, 'category', 'c')
    with pytest.raises(InputError, match='--other-key does not apply'):
        set_in_data_set(wrapper, 'other_key', 'c')
