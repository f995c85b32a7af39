import math
from collections.abc import Callable, Iterable, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmad.errors import InputError
from mmad.models.layers.image_moments import ImageMoments
from mmad.models.layers.student_ensemble import StudentEnsemble
from mmad.models.normalization import describe_normalization
from mmad.models.teachers import load_teacher
from mmad.models.trained_model import TrainedModel
from mmad.registry import MODELS
from mmad.utils.arguments import as_arguments, check_choice, check_number

from .signed_detector import SignedDetector

_ORDERS = ('together', 'sequence')


@MODELS.register_module()
class UninformedStudents(TrainedModel, SignedDetector):
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

    Training has three stages, each of which a resumed run goes on in:
    :meth:`measure_teachers` before it, the training, and :meth:`calibrate`
    after it. The hooks :class:`~mmad.engine.hooks.TeacherStatisticsHook` and
    :class:`~mmad.engine.hooks.CalibrationHook` see to the first and the last.

    Args:
        scales (Sequence[dict]): For each patch size ``network``, the config
            of a :class:`~mmad.models.PatchNetwork`, and ``teacher``, its
            trained weights as :func:`~mmad.models.load_teacher` finds them;
            None where all comes from a checkpoint.
        num_students (int): ``M``, at least 2. Defaults to 3.
        order (str): ``'together'``, all scales in each step; or
            ``'sequence'``, one after the other, each for an equal share of
            the epochs, which takes less memory. Defaults to ``'together'``.
        data_preprocessor (dict, optional): Must be the teachers'. Defaults to
            None.

    Raises:
        InputError: An argument is out of its range, or a teacher is missing
            or does not fit.
    """

    def __init__(self,
                 scales: Sequence[dict],
                 num_students: int = 3,
                 order: str = 'together',
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        # Of one there is no variance.
        check_number('num_students', num_students, low=2, integer=True)
        check_choice('order', order, _ORDERS)
        if isinstance(scales, str) or not isinstance(scales, Sequence):
            raise InputError('`scales` must be a list with a dict for each '
                             f'patch size, got {scales!r}.')
        self.num_students = num_students
        self.order = order
        self.normalization = describe_normalization(data_preprocessor)
        self.scales = torch.nn.ModuleDict()
        self._without_teacher = []
        for number, scale in enumerate(scales):
            if 'network' not in as_arguments(f'scales[{number}]', scale):
                raise InputError(f'`scales[{number}]` lacks its `network`.')
            self._add_scale(number, **scale)
        if not self.scales:
            raise InputError('`scales` must hold at least one.')
        self.begin_epoch(0, 1)

    def _add_scale(self, number: int, network: dict,
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
        self.scales[name] = StudentEnsemble(model, students)

    def signature(self) -> dict:
        return dict(
            detector='UninformedStudents',
            num_students=self.num_students,
            normalization=self.normalization,
            scales=[
                dict(scale.teacher.settings(), padding=scale.teacher.padding)
                for scale in self.scales.values()
            ])

    def check_schedule(self, max_epochs: int, validated: list[int]) -> None:
        """Refuse a schedule that would score with untrained students.

        Args:
            max_epochs (int): Epochs of the training.
            validated (list[int]): After which of them it is validated, from
                1.

        Raises:
            InputError: A scale has no epoch, or none yet at a validation.
        """
        if self.order == 'together':
            return
        number = len(self.scales)
        if max_epochs < number:
            raise InputError(
                f'`train_cfg.max_epochs` is {max_epochs}, but {number} scales '
                'in sequence need at least an epoch each.')
        begun = math.ceil((number - 1) * max_epochs / number)
        early = [epoch for epoch in validated if epoch <= begun]
        if early:
            raise InputError(
                f'a validation is due after epoch {early[0]}, but with '
                f'order="sequence" the last scale is first trained in epoch '
                f'{begun + 1}; set `train_cfg.val_interval={max_epochs}`.')

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Choose the scales that are trained, by ``order``."""
        names = list(self.scales)
        if self.order == 'sequence':
            names = [names[epoch * len(names) // max_epochs]]
        self._in_training = names

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """The students' distance from the teacher, for each scale."""
        if not self.is_measured:
            raise InputError(
                'the teachers of UninformedStudents are not measured; '
                '`custom_hooks` needs the TeacherStatisticsHook.')
        self.count_batch()
        return {
            f'loss_{name}': self.scales[name].loss(inputs)
            for name in self._in_training
        }

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_measured and not self.is_calibrated:
            raise InputError(
                'UninformedStudents is not calibrated, its training has not '
                'come to an end; go on with tools/train.py --resume.')
        self.require_fitted()
        maps = sum(scale.score(inputs) for scale in self.scales.values())
        maps = maps / len(self.scales)
        return maps.amax((1, 2, 3)), maps

    @property
    def is_measured(self) -> bool:
        """Whether :meth:`measure_teachers` was called."""
        return len(self.signature_bytes) > 0

    @property
    def is_fitted(self) -> bool:
        return super().is_fitted and self.is_calibrated

    def begin_training(self, num_batches: int) -> None:
        # Teachers are measured, and the state is signed, by themselves.
        self.batches_left.fill_(num_batches)

    @property
    def is_calibrated(self) -> bool:
        """Whether :meth:`calibrate` was called since the last training."""
        return all(scale.is_calibrated for scale in self.scales.values())

    def measure_teachers(self, batches: Iterable[dict],
                         num_images: int) -> None:
        """Mean and deviation of what the teachers say of normal images.

        Args:
            batches (Iterable[dict]): The training images of this process.
            num_images (int): Their number over all processes.

        Raises:
            InputError: A teacher is missing, or a component of its
                descriptors never varies.
        """
        if self._without_teacher:
            raise InputError(
                'there is no `teacher` for the scales '
                f'{", ".join(self._without_teacher)}; name one for each in '
                '`model.scales`, see docs/uninformed_students.md.')
        self.input_size.zero_()
        moments = {
            name: ImageMoments(num_images, scale.teacher.out_channels)
            for name, scale in self.scales.items()
        }
        self._collect(batches, moments,
                      lambda scale, inputs: scale.teacher.dense(inputs))
        for name, scale in self.scales.items():
            scale.set_target(
                *self._merge(moments[name], f'the teacher of {name}'))
        self.batches_left.clamp_(min=1)
        self.sign()

    def calibrate(self, batches: Iterable[dict], num_images: int) -> None:
        """Mean and deviation of errors and variances on normal images.

        Args:
            batches (Iterable[dict]): Images of this process that were not
                trained on.
            num_images (int): Their number over all processes.

        Raises:
            InputError: The students are not trained, or errors or variances
                never vary.
        """
        if not super().is_fitted:
            raise InputError(
                'the students of UninformedStudents have not seen all '
                'training images yet; calibrate after the training.')
        moments = {name: ImageMoments(num_images, 2) for name in self.scales}
        self._collect(batches, moments,
                      lambda scale, inputs: scale(inputs))
        for name, scale in self.scales.items():
            scale.set_scores(
                *self._merge(moments[name], f'the ensemble of {name}'))

    def forget_calibration(self) -> None:
        """Training goes on: what was calibrated does not hold any more."""
        for scale in self.scales.values():
            scale.set_scores(torch.empty(0), torch.empty(0))

    @torch.no_grad()
    def _collect(self, batches: Iterable[dict],
                 moments: dict[str, ImageMoments],
                 describe: Callable[[StudentEnsemble, Tensor],
                                    Tensor]) -> None:
        """Take in what each scale says of images."""
        was_training = self.training
        self.eval()
        for batch in batches:
            data = self.data_preprocessor(batch, False)
            self.check_frame(data['inputs'], data['data_samples'])
            for name, scale in self.scales.items():
                maps = describe(scale, data['inputs'])
                for sample, values in zip(
                        data['data_samples'], maps, strict=True):
                    moments[name].put(sample.sample_idx, values)
        self.train(was_training)

    def _merge(self, moments: ImageMoments,
               subject: str) -> tuple[Tensor, Tensor]:
        mean, std = moments.merge(all_reduce, self.signature_bytes.device)
        if not (std > 0).all():
            raise InputError(
                f'{subject} gives values that are not finite or the same at '
                'all pixels of the normal images; train it longer, and check '
                'the images and their normalization.')
        return mean, std
