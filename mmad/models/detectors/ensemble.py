from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.build import build_part
from mmad.models.layers.fitted_module import FittedModule
from mmad.models.layers.z_scores import ZScores
from mmad.registry import MODELS
from mmad.structures import AnomalyDataSample

from .fit_detector import Features, FitDetector


@MODELS.register_module()
class Ensemble(FitDetector):
    """Several fitted detectors whose scores are combined.

    PatchCore's authors combine three backbones so (sample_training.sh of
    amazon-science/patchcore-inspection). Members may be of any class that is
    fitted without gradients, and of several. All see the same images, and
    each is fitted by itself; members that need fewer passes are left out of
    the later ones.

    The scales of their scores differ, so a score, and each pixel of a map, is
    the mean of the members' z-scores: how many standard deviations it lies
    above the scores of normal images, as if these had not been in the fit.
    See :class:`~mmad.models.layers.ZScores`. The authors' code takes the
    least and largest score of the test images in place of this, by which the
    score of an image would depend on the others.

    The normal images are scored by
    :class:`~mmad.engine.hooks.CalibrationHook`, without which nothing can be
    predicted. Images that are added to a fit, or taken out, leave the scales
    as they are.

    Args:
        members (Sequence[dict | nn.Module]): The detectors, or their configs,
            without a data preprocessor of their own.
        data_preprocessor (dict, optional): That of all members. Defaults to
            None.

    Raises:
        InputError: There is no member, or one is trained by gradients, is an
            ensemble itself or has a data preprocessor.
    """

    members: Sequence[FitDetector]

    def __init__(self,
                 members: Sequence[dict | nn.Module],
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        if not isinstance(members, list | tuple) or not members:
            raise InputError('`members` must be a list of detectors, at least '
                             f'one, got {members!r}.')
        self.members = nn.ModuleList(  # type: ignore[assignment]
            map(build_part, members))
        for number, member in enumerate(self.members):
            _check_member(number, member)
            member.data_preprocessor = self.data_preprocessor
        self.z_scores = ZScores(len(self.members))
        self.takes_borders = all(one.takes_borders for one in self.members)

    def fingerprint(self) -> dict:
        return dict(
            super().fingerprint(), **{
                f'members.{number}.{key}': value
                for number, member in enumerate(self.members)
                for key, value in member.fingerprint().items()
            })

    def extract(self, inputs: Tensor) -> Features:
        """The features of each member, one after the other."""
        return tuple(
            member.extract(inputs)  # type: ignore[misc]
            for member in self.members)

    def score(self,
              inputs: Tensor,
              inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Combine scores and maps, leaving out the border of letterboxes.

        See :meth:`PatchCore.score <mmad.models.PatchCore.score>`.
        """
        given = (inputs, ) if inside is None else (inputs, inside)
        found = [member.score(*given) for member in self.members]
        return self.z_scores(*zip(*found))

    def score_in_graph(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        found = [member.score_in_graph(inputs) for member in self.members]
        return self.z_scores(*zip(*found))

    @property
    def combined(self) -> Sequence[FitDetector]:
        return self.members

    def learn_scales(self, scores: Tensor, map_means: Tensor,
                     map_stds: Tensor) -> None:
        self.z_scores.measure(scores, map_means, map_stds)
        means, stds = self.z_scores.means.tolist(), self.z_scores.stds.tolist()
        for name, mean, std in zip(self._names(), means, stds):
            print_log(
                f'{name}: normal images have scores of {mean[0]:.4g} +- '
                f'{std[0]:.2g}, and maps of {mean[1]:.4g} +- {std[1]:.2g}',
                'current')

    @property
    def fitted_modules(self) -> list[FittedModule]:
        return [
            module for member in self.members
            for module in member.fitted_modules
        ]

    @property
    def num_passes(self) -> int:
        return max(member.num_passes for member in self.members)

    @property
    def num_update_passes(self) -> int:
        return max(member.num_update_passes for member in self.members)

    @property
    def is_fitting(self) -> bool:
        return any(member.is_fitting for member in self.members)

    @property
    def is_fitted(self) -> bool:
        return super().is_fitted and all(one.is_fitted for one in self.members)

    def require_fitted(self) -> None:
        self.fit_state.require_fitted()
        for member in self.members:
            member.require_fitted()
        if not self.z_scores.is_fitted:
            raise InputError(
                'the members of the Ensemble have no common scale, which the '
                'CalibrationHook finds from normal images; go on with '
                'tools/train.py --resume, or fit again.')

    def check_modules(self) -> None:
        for member in self.members:
            member.check_modules()

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        self.z_scores.reset()
        self.input_size.zero_()
        for member in self.members:
            member.begin_fit(num_images, batch_size)

    def begin_update(self,
                     num_new: int,
                     batch_size: int,
                     forgotten: Sequence[int] = ()) -> None:
        self.require_fitted()
        for member in self.members:
            member.begin_update(num_new, batch_size, forgotten)
        self.decision.reset()

    def forget(self, ids: list[int], data: dict | None = None) -> None:
        for member in self._fitting():
            member.forget(ids, data)

    def _take_in(self, inputs: Tensor,
                 data_samples: list[AnomalyDataSample]) -> None:
        self.check_frame(inputs, data_samples)
        for member in self._fitting():
            member.loss(inputs, data_samples)

    @torch.no_grad()
    def end_pass(self) -> None:
        names = dict(zip(self.members, self._names()))
        for member in self._fitting():
            print_log(f'{names[member]} ...', 'current')
            member.end_pass()
        if not self.is_fitting:
            self.fit_state.finalize()

    def _fitting(self) -> list[FitDetector]:
        self.require_fitting()
        return [member for member in self.members if member.is_fitting]

    def _names(self) -> list[str]:
        return [
            f'Member {number}, {type(member).__name__}' +
            (f' on {member.backbone.name}'
             if hasattr(member, 'backbone') else '')
            for number, member in enumerate(self.members)
        ]


def _check_member(number: int, member: nn.Module) -> None:
    name = type(member).__name__
    if not isinstance(member, FitDetector) or member.needs_training:
        raise InputError(
            f'member {number} of the Ensemble, a {name}, is not fitted '
            'without gradients; members may be PatchCore, PaDiM, SPADE, FYD '
            'without training, or a FitDetector of your own.')
    if isinstance(member, Ensemble):
        raise InputError(f'member {number} of the Ensemble is an Ensemble; '
                         'list its members instead.')
    if type(member.data_preprocessor) is not BaseDataPreprocessor:
        raise InputError(
            f'member {number} of the Ensemble, a {name}, has a '
            '`data_preprocessor`, but all members see the same images; set '
            'that of the Ensemble alone.')
