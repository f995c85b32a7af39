import json

import pytest
import torch
from PIL import Image

from mmad.engine.hooks.fit_description import describe_fit, image_paths


def differing(found, expected):
    return {
        key
        for key in found.keys() | expected.keys()
        if found.get(key) != expected.get(key)
    }


@pytest.fixture
def describe(make_runner, own_root):

    def of(**changes):
        changes['train_dataloader.dataset.data_root'] = str(own_root)
        runner = make_runner('config', **changes)
        found = describe_fit(runner)
        assert json.loads(json.dumps(found)) == found
        return found

    return of


def test_the_same_fit_is_described_alike(describe):
    assert not differing(describe(),
                         describe(**{'train_dataloader.num_workers': 2}))


@pytest.mark.parametrize(('change', 'keys'), [
    ({
        'model.coreset_ratio': 0.2
    }, {'memory_bank.coreset_ratio'}),
    ({
        'model.seed': 3
    }, {'memory_bank.seed'}),
    ({
        'model.backbone.seed': 1
    }, {'weights'}),
    ({
        'train_dataloader.batch_size': 2
    }, {'batch_size', 'train_dataloader'}),
    ({
        'train_dataloader.sampler.shuffle': True
    }, {'seed', 'train_dataloader'}),
    ({
        'train_dataloader.dataset.pipeline.2.scale': (61, 52)
    }, {'train_dataloader'}),
])
def test_what_makes_it_another_fit(describe, change, keys):
    assert differing(describe(), describe(**change)) == keys


def test_other_images(describe, own_root):
    before = describe()
    folder = own_root / 'bottle/train/good'
    first = sorted(folder.iterdir())[0]
    Image.fromarray(torch.zeros(9, 9, dtype=torch.uint8).numpy()).save(first)
    assert differing(describe(), before) == {'images'}
    first.rename(folder / 'zzz.png')
    assert differing(describe(), before) == {'images'}


def test_paths_of_the_images(make_runner, mvtec_root):
    folder = mvtec_root / 'bottle/train/good'
    assert image_paths(make_runner('config')) == [
        str(path) for path in sorted(folder.iterdir())
    ]
