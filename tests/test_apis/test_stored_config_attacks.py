import random
import sys

import pytest
import torch
from config_texts import ROOT
from stored_config_attacks import CONFIGS, attacks, attempts, put, text_of

from mmad.apis import AnomalyInferencer
from mmad.apis.stored_config import read_stored_config
from mmad.errors import InputError


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
        AnomalyInferencer(
            tmp_path / 'a.pth', device='cpu', modules='tiny_models')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('pipeline', attacks(ROOT))
def test_a_pipeline_is_a_list(pipeline):
    text = text_of(
        dict(
            model=dict(type='PatchCore'),
            test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    assert 'test_dataloader' not in read_stored_config(text, 'a.pth')


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
        AnomalyInferencer(
            tmp_path / 'a.pth', device='cpu', modules='tiny_models')
    assert not opened
    assert not (tmp_path / 'torch').exists()
