from pathlib import Path

import pytest
from config_texts import ROOT

from mmad.apis import AnomalyInferencer, get_model, list_models
from mmad.errors import InputError
from mmad.models import PaDiM


def test_names_are_those_of_the_configs():
    names = list_models()
    assert names == sorted(names)
    assert set(names) == {
        path.stem
        for path in (ROOT / 'configs').glob('*/*.py')
        if path.parent.name != '_base_'
    }
    assert AnomalyInferencer.list_models() == names


@pytest.mark.parametrize('pattern', ['padim*', '*resnet18*', '*x*', 'none'])
def test_pattern(pattern):
    part = pattern.strip('*')
    assert list_models(pattern) == [
        name for name in list_models()
        if (name.startswith(part) if pattern[0] != '*' else part in name)
    ]


def test_model_without_weights_is_not_fitted():
    model = get_model('padim_resnet18_mvtec', pretrained=False)
    assert isinstance(model, PaDiM)
    assert not model.is_fitted
    assert Path(model.cfg.filename).stem == 'padim_resnet18_mvtec'


def test_weights_are_those_of_the_config(monkeypatch):
    seen = []
    monkeypatch.setattr('mmad.apis.model_list.MODELS.build',
                        lambda cfg: seen.append(cfg) or PaDiMStandIn())
    get_model('padim_resnet18_mvtec')
    get_model('padim_resnet18_mvtec', pretrained=False)
    assert seen[0].backbone.weights == 'IMAGENET1K_V1'
    assert seen[1].backbone.weights is None


class PaDiMStandIn:
    pass


@pytest.mark.parametrize(('name', 'hint'), [
    ('padim_resnet18_mvtek', 'did you mean padim_resnet18_mvtec'),
    ('PaDiM_resnet18_mvtec', 'padim_resnet18_mvtec'),
    ('zzz', 'list_models'),
    ('../padim', 'padim'),
    (None, 'list_models'),
])
def test_unknown_name(name, hint):
    with pytest.raises(InputError, match=hint):
        get_model(name)
