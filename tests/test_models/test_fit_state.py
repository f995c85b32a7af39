import pytest
import torch
from mmengine.runner import load_state_dict

from mmad.errors import InputError


def through_torch(model, state):
    model.load_state_dict(state, strict=False)


def through_mmengine(model, state):
    """As the runner of tools/test.py does."""
    load_state_dict(model, state)


@pytest.fixture
def state(make_patchcore, fit, images):
    return fit(make_patchcore(), images).state_dict()


@pytest.mark.parametrize('load', [through_torch, through_mmengine])
def test_no_part_of_a_state_is_loaded(make_patchcore, state, load):
    for name, value in state.items():
        missing = {key: one for key, one in state.items() if key != name}
        with pytest.raises(InputError):
            load(make_patchcore(), missing)
        if value.numel():
            with pytest.raises(InputError):
                load(make_patchcore(), {**state, name: value[None]})
    with pytest.raises(InputError, match='input_size'):
        load(make_patchcore(), {**state, 'input_size': torch.ones(1).long()})


@pytest.mark.parametrize('load', [through_torch, through_mmengine])
def test_a_whole_state_and_more_is_loaded(make_patchcore, state, load):
    model = make_patchcore()
    load(model, {**state, 'more': torch.ones(1)})
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
