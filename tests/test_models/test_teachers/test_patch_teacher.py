import pytest
import torch
from mmengine.optim import OptimWrapper

from mmad.errors import InputError
from mmad.models import PatchTeacher

NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.05, out_channels=6)


@pytest.fixture
def make_teacher():

    def make(**kwargs):
        torch.manual_seed(0)
        kwargs.setdefault('backbone', dict(type='TinyBackbone'))
        teacher = PatchTeacher(NETWORK, **kwargs)
        teacher.begin_training(1)
        return teacher

    return make


@pytest.fixture
def patches():
    return torch.randn(
        8, 3, 17, 34, generator=torch.Generator().manual_seed(0))


def train(teacher, inputs, steps=1, lr=3e-3):
    wrapper = OptimWrapper(torch.optim.Adam(teacher.parameters(), lr=lr))
    teacher.train()
    teacher.begin_training(steps)
    return [
        teacher.train_step(dict(inputs=inputs), wrapper) for _ in range(steps)
    ]


def test_learns(make_teacher, patches):
    teacher = make_teacher(metric_weight=0.5)
    first, *_, last = train(teacher, patches, 40)
    assert set(first) == {
        'loss', 'loss_knowledge', 'loss_metric', 'loss_compactness'
    }
    assert last['loss'] < 0.5 * first['loss']


def test_knowledge_is_of_the_last_stage(make_teacher, patches):
    teacher = make_teacher(knowledge_weight=2)
    patches = patches[..., :17]
    assert teacher.decoder.weight.shape == (10, 6)
    decoded = teacher.decoder(teacher(patches))
    source = teacher.backbone(patches)[-1].mean((2, 3))
    expected = torch.stack(
        [torch.dot(a - b, a - b) for a, b in zip(decoded, source)]).mean()
    found = teacher(patches, mode='loss')['loss_knowledge']
    torch.testing.assert_close(found, 2 * expected)


def test_knowledge_loss_in_half_precision(make_teacher, patches):
    teacher = make_teacher()
    patches = patches[..., :17]
    with torch.no_grad():
        teacher.decoder.bias.fill_(300)  # its square exceeds float16
        with torch.autocast('cpu', torch.float16):
            loss = teacher(patches, mode='loss')['loss_knowledge']
    assert loss.dtype == torch.float32
    assert loss == pytest.approx(10 * 300**2, rel=0.05)


def test_no_gradient_for_the_source(make_teacher, patches):
    teacher = make_teacher(metric_weight=1)
    before = {
        name: value.clone()
        for name, value in teacher.backbone.state_dict().items()
    }
    teacher.train()
    sum(teacher(patches, mode='loss').values()).backward()
    assert all(p.grad is None for p in teacher.backbone.parameters())
    for part in (teacher.network, teacher.decoder):
        assert all(p.grad.abs().max() > 0 for p in part.parameters())
    train(teacher, patches)
    for name, value in teacher.backbone.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ('weights', 'names'),
    [(dict(knowledge_weight=0, backbone=None), ['compactness']),
     (dict(compactness_weight=0), ['knowledge']),
     (dict(
         knowledge_weight=0,
         metric_weight=1,
         compactness_weight=0,
         backbone=None), ['metric'])])
def test_a_loss_is_left_out(make_teacher, patches, weights, names):
    teacher = make_teacher(**weights)
    losses = teacher(patches, mode='loss')
    assert list(losses) == [f'loss_{name}' for name in names]
    sum(losses.values()).backward()
    # Several processes need a gradient for each parameter.
    assert all(p.grad is not None for p in teacher.parameters()
               if p.requires_grad)


def test_reload(make_teacher, patches):
    teacher, other = make_teacher(), make_teacher()
    train(teacher, patches)
    other.load_state_dict(teacher.state_dict())
    assert torch.equal(other(patches[..., :17]), teacher(patches[..., :17]))
    with pytest.raises(InputError, match='patch_size 17 instead of 33'):
        PatchTeacher(
            dict(NETWORK, patch_size=33),
            knowledge_weight=0).load_state_dict(teacher.state_dict())


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(knowledge_weight=0, compactness_weight=0), 'must be above 0, got'),
     (dict(metric_weight=-1), '`metric_weight` must be .* at least 0'),
     (dict(backbone=None), 'the knowledge loss needs a `backbone`')])
def test_bad_arguments(make_teacher, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_teacher(**kwargs)


@pytest.mark.parametrize(
    ('shape', 'message'),
    [((4, 3, 17, 17), 'the metric loss needs two versions'),
     ((4, 3, 16, 34), r'of 17x17 pixels, got 4 of 17x16'),
     ((1, 3, 17, 34), 'two patches or more .* got 1 of')])
def test_bad_patches(make_teacher, shape, message):
    with pytest.raises(InputError, match=message):
        train(make_teacher(metric_weight=1), torch.randn(shape))
