import pytest
import torch
from torch import nn

from mmad.models.layers import (
    StudentEnsemble,
    predictive_variance,
    regression_error,
)


class Dense(nn.Module):
    """A convolution with the interface of a patch network."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)

    def dense(self, images):
        return self.body(images)


def give(statistics, mean, std):
    statistics.mean = torch.tensor(mean)
    statistics.std = torch.tensor(std)


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    ensemble = StudentEnsemble(Dense(), [Dense() for _ in range(3)], 'p17')
    give(ensemble.teacher_statistics, [0., 1, 2, 3], [1., 2, 0.5, 3])
    return ensemble


@pytest.fixture
def students():
    return torch.randn(
        3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))


def test_error_by_hand():
    students = torch.tensor([[1., 2.], [3., 4.], [5., 3.]])[:, None, :, None,
                                                            None]
    target = torch.tensor([1., 5.])[None, :, None, None]
    # The mean is (3, 3).
    assert regression_error(students, target).flatten().tolist() == [8]


def test_variance_by_hand():
    students = torch.tensor([[1., 2.], [3., 4.], [5., 3.]])[:, None, :, None,
                                                            None]
    # (4 + 1) + (0 + 1) + (4 + 0) over three.
    assert predictive_variance(students).item() == pytest.approx(10 / 3)


def test_variance_is_the_formula(students):
    formula = students.square().sum(2).mean(0) - students.mean(0).square().sum(
        1)
    torch.testing.assert_close(predictive_variance(students)[:, 0], formula)


def test_variance_is_never_negative(students):
    assert (predictive_variance(students) >= 0).all()
    # Where the formula of the paper is at the mercy of rounding.
    close = 1e3 + 1e-4 * students
    assert (predictive_variance(close) >= 0).all()


def test_no_variance_of_identical_students(students):
    same = students[:1].expand(3, *students.shape[1:])
    assert (predictive_variance(same) == 0).all()


def test_target_is_normalized(ensemble):
    images = torch.randn(2, 3, 8, 9)
    raw = ensemble.teacher.dense(images)
    torch.testing.assert_close(
        ensemble.target(images)[:, 1], (raw[:, 1] - 1) / 2)


def test_loss_by_hand(ensemble):
    images = torch.randn(2, 3, 8, 9)
    target = ensemble.target(images)
    expected = sum((student.dense(images) - target).pow(2).sum() / (2 * 8 * 9)
                   for student in ensemble.students)
    torch.testing.assert_close(ensemble.loss(images), expected)


def test_no_gradient_for_the_teacher(ensemble):
    ensemble.train()
    ensemble.loss(torch.randn(1, 3, 8, 8)).backward()
    assert all(p.grad is None for p in ensemble.teacher.parameters())
    assert all(p.grad.abs().max() > 0 for p in ensemble.students.parameters())
    assert not ensemble.teacher.training
    assert ensemble.students.training


def test_nothing_where_students_have_learned_all(ensemble):
    with torch.no_grad():
        for student in ensemble.students:
            student.body.weight.copy_(
                ensemble.teacher.body.weight /
                ensemble.teacher_statistics.std[:, None, None, None])
            student.body.bias.copy_(
                (ensemble.teacher.body.bias - ensemble.teacher_statistics.mean)
                / ensemble.teacher_statistics.std)
        images = torch.randn(1, 3, 8, 8)
        error, variance = ensemble(images)[0]
        assert float(ensemble.loss(images)) < 1e-10
    assert error.max() < 1e-10
    assert variance.max() == 0


def test_scores_add_up(ensemble):
    images = torch.randn(2, 3, 8, 9)
    error, variance = ensemble(images).unbind(1)
    give(ensemble.score_statistics, [1., 2], [4., 5])
    torch.testing.assert_close(
        ensemble.score(images)[:, 0], (error - 1) / 4 + (variance - 2) / 5)


def test_reload(ensemble):
    give(ensemble.score_statistics, [1., 2], [4., 5])
    other = StudentEnsemble(Dense(), [Dense() for _ in range(3)], 'p17')
    assert not other.score_statistics.is_fitted
    other.load_state_dict(ensemble.state_dict())
    images = torch.randn(2, 3, 8, 9)
    assert other.score_statistics.is_fitted
    assert torch.equal(other.score(images), ensemble.score(images))
