import pytest
import torch
from mmengine.optim import OptimWrapper

from mmad.errors import InputError
from mmad.models import MKD, PatchTeacher, load_teacher

CLONER = dict(
    type='Cloner',
    widths=[[6], [10]],
    points=[0, 1],
    strides=[4, 2],
    ceil_mode=True)
NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.02, out_channels=4)


def mkd():
    torch.manual_seed(0)
    return MKD(dict(type='TinyBackbone'), CLONER)


def teacher():
    torch.manual_seed(0)
    return PatchTeacher(NETWORK, knowledge_weight=0)


@pytest.fixture(params=[mkd, teacher])
def make(request):
    return request.param


def inputs_of(model, images):
    return images[..., :17, :17] if isinstance(model, PatchTeacher) else images


def step(model, images):
    model.train_step(
        dict(inputs=inputs_of(model, images)),
        OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3)))


@pytest.mark.parametrize('trained', range(5))
def test_fitted_after_as_many_batches_as_an_epoch(make, images, trained):
    model = make()
    model.begin_training(3)
    for _ in range(trained):
        step(model, images)
    assert model.is_fitted == (trained >= 3)
    if trained < 3:
        with pytest.raises(
                InputError,
                match=(f'broken off {3 - trained} batches before .*--resume')):
            model.fit_state.require_fitted()
    else:
        model.fit_state.require_fitted()


@pytest.mark.parametrize('trained', range(4))
def test_every_prefix_of_a_training_of_mkd(images, trained):
    model = mkd()
    with pytest.raises(InputError, match='not fitted'):
        model(images, mode='predict')
    model.begin_training(3)
    for _ in range(trained):
        step(model, images)
    other = mkd()
    other.load_state_dict(model.state_dict())
    for detector in (model, other.eval()):
        if trained < 3:
            with pytest.raises(InputError, match='not fitted'):
                detector(images, mode='predict')
        else:
            detector(images, mode='predict')


def test_no_batch_before_a_training_begins(make, images):
    with pytest.raises(InputError, match='needs the TrainingStartHook'):
        step(make(), images)


@pytest.mark.parametrize('before', [1, 2])
def test_a_resumed_training_goes_on_counting(make, images, before):
    model, other = make(), make()
    model.begin_training(3)
    for _ in range(before):
        step(model, images)
    other.load_state_dict(model.state_dict())
    for _ in range(3 - before):
        assert not other.is_fitted
        step(other, images)
    assert other.is_fitted


def test_a_new_training_is_counted_anew(make, images):
    model = make()
    for _ in range(2):
        model.begin_training(1)
        assert not model.is_fitted
        step(model, images)
        assert model.is_fitted


def test_lambda_stays_in_a_resumed_training(images):
    model, other = mkd(), mkd()
    model.begin_training(2)
    step(model, images)
    other.load_state_dict(model.state_dict())
    step(other, 3 * images)
    assert other.weight == model.weight
    assert torch.isfinite(other.weight)


def test_students_learn_from_no_untrained_teacher(images, tmp_path):
    model = teacher()
    model.begin_training(2)
    for is_trained in (False, True):
        step(model, images)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 't.pth')
        if is_trained:
            load_teacher(model.network, str(tmp_path / 't.pth'), None)
        else:
            with pytest.raises(InputError, match=r'not trained.*--resume'):
                load_teacher(model.network, str(tmp_path / 't.pth'), None)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_training_that_diverges_ends(make, images, value):
    model = make()
    model.begin_training(3)
    parameter = next(p for p in model.parameters() if p.requires_grad)
    before = parameter.detach().clone()
    step(model, images)
    assert not torch.equal(parameter, before)
    after = parameter.detach().clone()
    losses = dict(loss=parameter.sum() * 0 + value, other=parameter.sum())
    model.loss = lambda *args: losses
    model._run_forward = lambda *args, **kwargs: losses
    with pytest.raises(InputError, match=r'diverged.*learning rate'):
        step(model, images)
    assert torch.equal(parameter, after)
