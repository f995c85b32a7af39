from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.models.layers.student_ensemble import StudentEnsemble
from mmad.models.normalization import describe_normalization
from mmad.models.teachers import load_teacher
from mmad.registry import MODELS
from mmad.utils.arguments import as_arguments, check_choice, check_number

from .base import BaseDetector


@MODELS.register_module()
class UninformedStudents(BaseDetector):
    """Students that imitate a teacher on normal images only.

    Implementation of `Uninformed Students: Student-Teacher Anomaly Detection
    with Discriminative Latent Embeddings
    <https://arxiv.org/abs/1911.02357>`_ (Bergmann et al., CVPR 2020).

    A teacher describes the patch around each pixel. Several students, of the
    same form but with random weights to begin with, learn its descriptors of
    normal images. At a defect they are wrong, and each in its own way: the
    error of their mean and their variance, each in units of normal pixels,
    add up to the map. Its maximum is the score of the image. Maps of several
    patch sizes are averaged.

    :class:`~mmad.engine.hooks.TeacherStatisticsHook` measures the teachers
    before the training, :class:`~mmad.engine.hooks.StudentStatisticsHook` the
    students behind it, on normal images kept from the training, and
    :class:`~mmad.engine.hooks.ScaleSequenceHook`, if wanted, trains one scale
    after the other.

    Args:
        scales (Sequence[dict]): For each patch size ``network``, the config
            of a :class:`~mmad.models.PatchNetwork`, and ``teacher``, its
            trained weights as :func:`~mmad.models.load_teacher` finds them;
            None where all comes from a checkpoint.
        num_students (int): ``M``, at least 2. Defaults to 3.
        image_score (str): ``'max'``, the maximum of the map, for defects that
            are small; or ``'mean'``, for images that are anomalous as a
            whole, as those of another class. Defaults to ``'max'``.
        data_preprocessor (dict, optional): Must be the teachers'. Defaults to
            None.

    Raises:
        InputError: An argument is out of its range, or a teacher is missing
            or does not fit.

    Attributes:
        scales (nn.ModuleDict): A
            :class:`~mmad.models.layers.StudentEnsemble` for each patch size.
        active_scales (list[str]): Names of those that are trained.
    """

    scales: MutableMapping[str, StudentEnsemble]

    def __init__(self,
                 scales: Sequence[dict],
                 num_students: int = 3,
                 image_score: str = 'max',
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        # Of one there is no variance.
        check_number('num_students', num_students, low=2, integer=True)
        check_choice('image_score', image_score, ('max', 'mean'))
        if isinstance(scales, str) or not isinstance(scales, Sequence):
            raise InputError('`scales` must be a list with a dict for each '
                             f'patch size, got {scales!r}.')
        self.num_students = num_students
        self.image_score = image_score
        self.normalization = describe_normalization(data_preprocessor)
        self.scales = torch.nn.ModuleDict()  # type: ignore[assignment]
        self._without_teacher: list[str] = []
        for number, scale in enumerate(scales):
            if 'network' not in as_arguments(f'scales[{number}]', scale):
                raise InputError(f'`scales[{number}]` lacks its `network`.')
            self._add_scale(number, **scale)
        if not self.scales:
            raise InputError('`scales` must hold at least one.')
        self.active_scales = list(self.scales)

    def _add_scale(self,
                   number: int,
                   network: dict,
                   teacher: str | None = None) -> None:
        model, *students = (
            MODELS.build(network) for _ in range(1 + self.num_students))
        name = f'p{model.patch_size}'
        if name in self.scales:
            raise InputError(
                f'`scales` holds the patch size {model.patch_size} twice.')
        if teacher is None:
            self._without_teacher.append(name)
        else:
            load_teacher(model, teacher, self.normalization, number)
        self.scales[name] = StudentEnsemble(model, students, name)

    def fingerprint(self) -> dict:
        return dict(
            detector='UninformedStudents',
            num_students=self.num_students,
            normalization=self.normalization,
            scales=[
                dict(scale.teacher.settings(), padding=scale.teacher.padding)
                for scale in self.scales.values()
            ])

    @property
    def teachers_measured(self) -> bool:
        """Whether the statistics of the teachers are known."""
        return all(scale.teacher_statistics.is_fitted
                   for scale in self.scales.values())

    @property
    def students_measured(self) -> bool:
        """Whether the statistics of the students' scores are known."""
        return all(scale.score_statistics.is_fitted
                   for scale in self.scales.values())

    @property
    def is_fitted(self) -> bool:
        return super().is_fitted and self.students_measured

    def require_fitted(self) -> None:
        super().require_fitted()
        if not self.students_measured:
            raise InputError(
                'UninformedStudents is not calibrated, its training has not '
                'come to an end; go on with tools/train.py --resume.')

    def require_teachers(self) -> None:
        """Raise :class:`InputError` unless each scale has its teacher."""
        if self._without_teacher:
            raise InputError(
                'there is no `teacher` for the scales '
                f'{", ".join(self._without_teacher)}; name one for each in '
                '`model.scales`, see docs/uninformed_students.md.')

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """The students' distance from the teacher, for each active scale."""
        if not self.teachers_measured:
            raise InputError(
                'the teachers of UninformedStudents are not measured; '
                '`custom_hooks` needs the TeacherStatisticsHook.')
        return {
            f'loss_{name}': self.scales[name].loss(inputs)
            for name in self.active_scales
        }

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        maps: Any = sum(scale.score(inputs) for scale in self.scales.values())
        maps = maps / len(self.scales)
        extent = (1, 2, 3)
        if self.image_score == 'mean':
            return maps.mean(extent), maps
        return maps.amax(extent), maps
