import argparse
import os
from pathlib import Path

import pytest
from mmengine.config import Config

from mmad.command_options import add_common_arguments
from mmad.errors import InputError
from mmad.utils.config_text import config_text
from mmad.utils.own_folders import OPTIONS, name_of_part, set_own_folders

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def parse(*options):
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    return parser.parse_args([str(option) for option in options])


@pytest.fixture
def cfg():

    def loader(split):
        return dict(
            dataset=dict(
                type='FolderDataset',
                split=split,
                data_root='data/own',
                normal_dir='normal',
                normal_test_dir='more',
                abnormal_dir='abnormal',
                mask_dir='masks'))

    return Config(
        dict(
            train_dataloader=loader('train'),
            val_dataloader=loader('test'),
            test_dataloader=loader('test')))


def places(cfg):
    """Absolute paths of the folders, which are those of every loader."""
    found = []
    for loader in LOADERS:
        dataset = cfg[loader].dataset
        root = Path(dataset.data_root)
        found.append({
            name: [
                os.path.abspath(root / folder)
                for folder in (value if isinstance(value, list) else [value])
            ]
            for name in OPTIONS if (value := dataset[name]) is not None
        })
    assert found[0] == found[1] == found[2]
    return found[0]


def test_nothing_given(cfg):
    before = cfg.to_dict()
    set_own_folders(cfg, parse())
    assert cfg.to_dict() == before


@pytest.mark.parametrize('folder', [
    'good', 'parts/good', 'two words/gut für Köln', '../beside', "it's",
    '/absolute/good', '零件/好'
])
def test_normal_images_alone(folder, cfg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_own_folders(cfg, parse('--normal-dir', folder))
    assert places(cfg) == dict(normal_dir=[os.path.abspath(tmp_path / folder)])
    # The config of the work directory has the same folders.
    again = Config.fromstring(config_text(cfg), '.py')
    monkeypatch.chdir('/')
    assert places(again) == places(cfg)


def test_all_folders(cfg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_own_folders(
        cfg,
        parse('--normal-dir', 'p/good', tmp_path / 'p/older', '--normal-dir',
              'p/x/good', '--normal-test-dir', 'p/fine', '--abnormal-dir',
              'p/bad', '--mask-dir', 'p/bad/masks'))
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path / 'p')
    assert cfg.train_dataloader.dataset.normal_dir == [
        'good', 'older', 'x/good'
    ]
    assert places(cfg) == {
        name: [str(tmp_path / 'p' / folder) for folder in folders]
        for name, folders in dict(
            normal_dir=['good', 'older', 'x/good'],
            normal_test_dir=['fine'],
            abnormal_dir=['bad'],
            mask_dir=['bad/masks']).items()
    }


def test_relative_to_a_given_data_root(cfg):
    args = parse('--data-root', 'parts', '--normal-dir', 'good',
                 '--abnormal-dir', 'bad')
    set_own_folders(cfg, args)
    dataset = cfg.test_dataloader.dataset
    assert (dataset.normal_dir, dataset.abnormal_dir) == ('good', 'bad')
    assert dataset.mask_dir is dataset.normal_test_dir is None


def test_other_bad_images_have_other_masks(cfg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_own_folders(cfg, parse('--abnormal-dir', 'new'))
    found = places(cfg)
    assert found['abnormal_dir'] == [str(tmp_path / 'new')]
    assert found['normal_dir'] == [str(tmp_path / 'data/own/normal')]
    assert 'mask_dir' not in found


def test_home(cfg):
    set_own_folders(cfg, parse('--normal-dir', '~/good'))
    assert places(cfg)['normal_dir'] == [os.path.expanduser('~/good')]


@pytest.mark.parametrize('option', OPTIONS)
def test_empty_name(option, cfg):
    option = f'--{option.replace("_", "-")}'
    with pytest.raises(InputError, match=f'{option} is empty'):
        set_own_folders(cfg, parse(option, ''))


def test_data_set_with_a_layout_of_its_own(cfg):
    cfg.val_dataloader.dataset.type = 'MVTecAD'
    with pytest.raises(InputError, match=r'--mask-dir is for .* the MVTecAD'):
        set_own_folders(cfg, parse('--mask-dir', 'masks'))


@pytest.mark.parametrize(('folder', 'name'), [
    ('parts/good', 'parts'),
    ('parts', 'parts'),
    ('screws/Train/OK', 'screws'),
    ('gut für Köln', 'gut für Köln'),
    ('/', None),
    ('/good', None),
])
def test_name_of_a_part(folder, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name_of_part(parse('--normal-dir', folder, 'more')) == name


def test_name_below_a_data_root(tmp_path):
    args = parse('--data-root', tmp_path / 'screws', '--normal-dir', 'good')
    assert name_of_part(args) == 'screws'
    assert name_of_part(parse()) is None
