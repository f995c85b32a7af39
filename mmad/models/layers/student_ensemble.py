from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .pixel_statistics import PixelStatistics


def regression_error(students: Tensor, target: Tensor) -> Tensor:
    """Compute the regression error of the students.

    Uninformed Students (Bergmann et al., CVPR 2020): ``e = |y - t|^2`` at
    each pixel, with the mean ``y`` of the students.

    Args:
        students (Tensor): ``(M, B, C, H, W)``.
        target (Tensor): ``(B, C, H, W)``, the teacher's normalized
            descriptors ``t``.

    Returns:
        Tensor: ``(B, 1, H, W)``, at least 0.
    """
    return (students.mean(0) - target).square().sum(1, keepdim=True)


def predictive_variance(students: Tensor) -> Tensor:
    """Compute the predictive variance of the students.

    Uninformed Students (Bergmann et al., CVPR 2020):
    ``v = 1/M sum |s_i|^2 - |y|^2`` at each pixel, with the mean ``y`` of the
    students, computed as the mean squared distance from ``y``.

    Args:
        students (Tensor): ``(M, B, C, H, W)``.

    Returns:
        Tensor: ``(B, 1, H, W)``, at least 0, and 0 where all are the same.
    """
    # Differences first, so that identical students leave no rounding error.
    apart = students - students[:1]
    apart = apart - apart.mean(0)
    return apart.square().sum(2, keepdim=True).mean(0)


class StudentEnsemble(nn.Module):
    """A frozen teacher and the students that imitate it, at one scale.

    All are networks with a method ``dense`` that maps images
    ``(B, 3, H, W)`` to descriptors ``(B, C, H, W)``.

    Args:
        teacher (nn.Module): Takes no gradients.
        students (Sequence[nn.Module]): ``M`` of them.
        name (str): Of the scale, for messages.

    Attributes:
        teacher_statistics (PixelStatistics): Bring each component of the
            teacher's descriptors to mean 0 and standard deviation 1 over the
            training images; students learn these.
        score_statistics (PixelStatistics): Do the same with regression error
            and predictive variance, over images that no student learned from.
    """

    teacher: Any
    students: Any

    def __init__(self, teacher: nn.Module, students: Sequence[nn.Module],
                 name: str) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.students = nn.ModuleList(students)
        self.teacher_statistics = PixelStatistics(f'the teacher of {name}')
        self.score_statistics = PixelStatistics(f'the ensemble of {name}')

    @torch.no_grad()
    def target(self, images: Tensor) -> Tensor:
        """The teacher's normalized descriptors ``(B, C, H, W)``."""
        return self.teacher_statistics(self.teacher.dense(images))

    def loss(self, images: Tensor) -> Tensor:
        """Sum up the squared distances of the students from the teacher.

        Up to constants it is the negative log-likelihood of the teacher's
        descriptors under a Gaussian around each student's prediction.

        Args:
            images (Tensor): ``(B, 3, H, W)``.

        Returns:
            Tensor: A float32 scalar, the mean over pixels and images.
        """
        target = self.target(images).float()
        return sum(
            (student.dense(images).float() - target).square().sum(1).mean()
            for student in self.students)

    def forward(self, images: Tensor) -> Tensor:
        """Compute regression error and predictive variance.

        Args:
            images (Tensor): ``(B, 3, H, W)``.

        Returns:
            Tensor: ``(B, 2, H, W)``.
        """
        students = torch.stack(
            [student.dense(images) for student in self.students])
        return torch.cat([
            regression_error(students, self.target(images)),
            predictive_variance(students)
        ], 1)

    def score(self, images: Tensor) -> Tensor:
        """Add up both, normalized over normal images: ``(B, 1, H, W)``."""
        return self.score_statistics(self(images)).sum(1, keepdim=True)

    def train(self, mode: bool = True) -> 'StudentEnsemble':
        super().train(mode)
        self.teacher.train(False)
        return self
