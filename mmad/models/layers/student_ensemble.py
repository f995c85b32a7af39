from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .fitted_buffers import resize_buffers


def regression_error(students: Tensor, target: Tensor) -> Tensor:
    """How far the mean of the students is from the teacher.

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
    """How far the students are apart.

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
    ``(B, 3, H, W)`` to descriptors ``(B, C, H, W)``. Students learn the
    teacher's, each component of which is brought to mean 0 and standard
    deviation 1 over the training images.

    Args:
        teacher (nn.Module): Takes no gradients.
        students (Sequence[nn.Module]): ``M`` of them.

    Attributes:
        target_mean, target_std (Tensor): ``(C,)``, of the teacher's
            components; empty before :meth:`set_target`.
        score_mean, score_std (Tensor): ``(2,)``, of regression error and
            variance on normal images; empty before :meth:`set_scores`.
    """

    target_mean: Tensor
    target_std: Tensor
    score_mean: Tensor
    score_std: Tensor

    def __init__(self, teacher: nn.Module,
                 students: Sequence[nn.Module]) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.students = nn.ModuleList(students)
        for name in ('target_mean', 'target_std', 'score_mean', 'score_std'):
            self.register_buffer(name, torch.empty(0))

    def set_target(self, mean: Tensor, std: Tensor) -> None:
        """Set what the teacher's components are normalized with."""
        self.target_mean = mean.to(self.target_mean)
        self.target_std = std.to(self.target_std)

    def set_scores(self, mean: Tensor, std: Tensor) -> None:
        """Set what regression error and variance are normalized with."""
        self.score_mean = mean.to(self.score_mean)
        self.score_std = std.to(self.score_std)

    @property
    def is_calibrated(self) -> bool:
        return len(self.score_mean) > 0

    @torch.no_grad()
    def target(self, images: Tensor) -> Tensor:
        """The teacher's normalized descriptors ``(B, C, H, W)``."""
        descriptors = self.teacher.dense(images)
        return (descriptors - self.target_mean[:, None, None]
                ) / self.target_std[:, None, None]

    def loss(self, images: Tensor) -> Tensor:
        """Squared distances from the teacher, summed over the students.

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
        """Regression error and predictive variance.

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
        """Both in units of normal images, added up: ``(B, 1, H, W)``."""
        scores = self(images) - self.score_mean[:, None, None]
        return (scores / self.score_std[:, None, None]).sum(1, keepdim=True)

    def train(self, mode: bool = True) -> 'StudentEnsemble':
        super().train(mode)
        self.teacher.train(False)
        return self

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        resize_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
