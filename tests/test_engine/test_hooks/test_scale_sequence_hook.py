from types import SimpleNamespace

import pytest

from mmad.engine.hooks import ScaleSequenceHook, scale_sequence_hook
from mmad.errors import InputError


def runner_of(epochs, scales=('p17', 'p33')):
    model = SimpleNamespace(
        scales=dict.fromkeys(scales), active_scales=list(scales))
    return SimpleNamespace(model=model, max_epochs=epochs, epoch=0)


def trained_scales(runner):
    hook, seen = ScaleSequenceHook(), []
    for epoch in range(runner.max_epochs):
        runner.epoch = epoch
        hook.before_train_epoch(runner)
        name, = runner.model.active_scales
        seen.append(name)
    return seen


def test_equal_shares_in_order():
    assert trained_scales(runner_of(6)) == ['p17'] * 3 + ['p33'] * 3


@pytest.mark.parametrize('number', [1, 2, 3])
@pytest.mark.parametrize('epochs', range(1, 9))
def test_a_validation_comes_after_each_scale_has_begun(monkeypatch, number,
                                                       epochs):
    scales = [f'p{i}' for i in range(number)]
    runner = runner_of(epochs, scales)
    for validated in range(1, epochs):
        monkeypatch.setattr(
            scale_sequence_hook,
            'validated_epochs',
            lambda runner, epoch=validated: [epoch])
        if set(trained_scales(runner)[:validated]) == set(scales):
            ScaleSequenceHook().before_train(runner)
        else:
            with pytest.raises(
                    InputError,
                    match=r'a validation is due after|'
                    r'need at least an epoch each'):
                ScaleSequenceHook().before_train(runner)


def test_fewer_epochs_than_scales(monkeypatch):
    monkeypatch.setattr(scale_sequence_hook, 'validated_epochs',
                        lambda runner: [])
    with pytest.raises(InputError, match='2 scales in sequence need at least'):
        ScaleSequenceHook().before_train(runner_of(1))
    ScaleSequenceHook().before_train(runner_of(2))
