import pytest
import torch

from mmad.errors import InputError
from mmad.models import PairLoss


def by_hand(images, pairs):
    return [(images[i] - images[j]).square().sum(0).sqrt() for i, j in pairs]


ALL = [(i, j) for i in range(7) for j in range(i + 1, 7)]
CYCLE = [(i, (i + 1) % 7) for i in range(7)]


@pytest.mark.parametrize(('pairs', 'which'), [('all', ALL), ('cyclic', CYCLE)])
def test_formula(images, pairs, which):
    distances = torch.stack(by_hand(images, which))
    torch.testing.assert_close(PairLoss(pairs)(images), distances.mean())
    torch.testing.assert_close(
        PairLoss(pairs, 'sum', 0.5)(images), 0.5 * distances.sum())


def test_norm_is_not_squared(images):
    loss = PairLoss()
    torch.testing.assert_close(loss(3 * images), 3 * loss(images))


@pytest.mark.parametrize('pairs', ['all', 'cyclic'])
def test_equal_images_and_their_gradients(images, pairs):
    same = images[:1].repeat(4, 1, 1, 1).requires_grad_()
    loss = PairLoss(pairs)(same)
    loss.backward()
    assert loss == 0
    assert torch.equal(same.grad, torch.zeros_like(same))


@pytest.mark.parametrize('pairs', ['all', 'cyclic'])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_few_images(images, pairs, reduction):
    loss = PairLoss(pairs, reduction)
    assert loss(images[:1]) == 0
    pair, = by_hand(images, [(0, 1)])
    expected = pair.mean() if reduction == 'mean' else pair.sum()
    torch.testing.assert_close(loss(images[:2]), expected)


def test_gradients():
    images = torch.rand(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PairLoss('all'), (images, ))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(pairs='random'), '"cyclic" or "all", got "random"'),
     (dict(reduction='max'), '"mean" or "sum", got "max"')])
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        PairLoss(**kwargs)
