import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmad.datasets import NaturalImages
from mmad.errors import InputError
from mmad.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    """Four images, one and three in two folders."""
    for name in ('a/0', 'b/1', 'b/2', 'b/c/3'):
        path = tmp_path / 'natural' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 8, 3), 50, np.uint8)).save(path)
    return tmp_path / 'natural'


def build(root, **kwargs):
    return DATASETS.build(
        dict(type='NaturalImages', data_root=str(root), **kwargs))


def test_draws_go_round_all_images(folder):
    dataset = build(folder, length=10)
    assert len(dataset) == 10
    names = [
        os.path.relpath(entry['img_path'], folder)
        for entry in map(dataset.get_data_info, range(10))
    ]
    assert names[:4] == ['a/0.png', 'b/1.png', 'b/2.png', 'b/c/3.png']
    assert names == (names[:4] * 3)[:10]
    # Of a later epoch.
    assert dataset[4007]['sample_idx'] == 4007
    assert dataset[4007]['img_path'].endswith('b/c/3.png')


def test_pipeline(folder):
    dataset = build(
        folder,
        length=3,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='RandomPatch', patch_size=5),
            dict(type='PackInputs')
        ])
    assert dataset[2]['inputs'].shape == (3, 5, 5)


def test_inside_an_anomaly_root(folder):
    for root in (folder, folder.parent, folder / 'b'):
        with pytest.raises(InputError, match='must not be trained on'):
            build(folder, forbidden_roots=[str(root)])
    assert len(
        build(
            folder,
            forbidden_roots=[
                str(folder.parent / 'mvtec_ad'),
                str(folder / 'none'),
                str(folder) + '2'
            ])) == 64000


def test_empty_anomaly_root_inside(folder):
    (folder / 'mvtec_ad').mkdir()
    with pytest.raises(InputError, match=r'natural/mvtec_ad"\), which a'):
        build(folder, forbidden_roots=[str(folder / 'mvtec_ad')])


def test_layout_of_anomaly_data(mvtec_root):
    category = mvtec_root / 'bottle'
    for root in (mvtec_root, category, category / 'train',
                 category / 'train/good', category / 'test/hole',
                 category / 'ground_truth'):
        with pytest.raises(
                InputError,
                match=(fr'images of "{root}" belong to anomaly data '
                       fr'\("{category}"\)')):
            build(root)


def test_layout_of_a_classification_set(folder):
    for name in ('train', 'test', 'train/dog'):
        (folder / name).mkdir()
    assert len(build(folder, length=5)) == 5


@pytest.mark.parametrize('link', ['root', 'folder', 'file'])
def test_links_into_anomaly_data(folder, mvtec_root, link):
    good = mvtec_root / 'bottle/train/good'
    if link == 'root':
        folder = folder.parent / 'link'
        folder.symlink_to(good)
    elif link == 'folder':
        (folder / 'good').symlink_to(good)
    else:
        (folder / 'b/000.png').symlink_to(good / '000.png')
    for kwargs in (dict(), dict(forbidden_roots=[str(mvtec_root)])):
        with pytest.raises(InputError, match='belong to anomaly data'):
            build(folder, **kwargs)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('none', 'natural/none" does not exist; name one with natural images'),
     ('empty', r'no images in ".*/empty" or below it')])
def test_missing(folder, name, message):
    (folder / 'empty').mkdir()
    with pytest.raises(InputError, match=message):
        build(folder / name)


def test_bad_length():
    with pytest.raises(InputError, match='`length` must be a whole number'):
        NaturalImages('none', length=0)


def test_layout_of_visa(folder):
    (folder / 'Images/Anomaly').mkdir(parents=True)
    with pytest.raises(InputError, match='belong to anomaly data'):
        build(folder)


@pytest.mark.parametrize('options', [
    dict(length='x'),
    dict(length=1.5),
    dict(length=None),
    dict(data_root=None)
])
def test_types_of_arguments(tmp_path, options):
    with pytest.raises(InputError, match=r'`(length|data_root)` must be'):
        NaturalImages(**dict(dict(data_root=str(tmp_path)), **options))


def test_root_that_is_a_file(tmp_path):
    (tmp_path / 'a').touch()
    with pytest.raises(InputError, match='/a" is a file; name one with'):
        NaturalImages(str(tmp_path / 'a'))


def test_hidden_folders_and_loops(tmp_path):
    for name in ('a.png', 'b/c.png', '.thumbnails/a.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'b/up').symlink_to('..')
    dataset = NaturalImages(str(tmp_path), length=2)
    assert [Path(dataset.get_data_info(i)['img_path']).name
            for i in range(2)] == ['a.png', 'c.png']
