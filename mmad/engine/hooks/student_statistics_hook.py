from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmad.registry import HOOKS
from mmad.utils.arguments import check_number
from mmad.utils.progress import show_progress

from .hook_utils import (
    build_ordered_loader,
    fit_statistics,
    get_detector,
    hold_out,
    resumed_after_training,
    save_resumable_checkpoint,
    validated_epochs,
)


@HOOKS.register_module()
class StudentStatisticsHook(Hook):
    """Measure the errors of Uninformed Students on images held out from them.

    The hook measures the mean and the standard deviation of the regression
    error and of the predictive variance. It does so after the last epoch and
    after each epoch that is followed by a validation, before the checkpoint
    is written. The next epoch resets them, so checkpoints in between have
    none and refuse to predict.

    After the last epoch, a checkpoint is also written before that. A run that
    is resumed from it measures, saves and validates.

    Args:
        share (float): Share of the training images that is held out, at least
            one image. Defaults to 0.1.
        seed (int): Seed of the random choice of these images. Defaults to 0.

    Raises:
        InputError: An argument is out of its range, there is one training
            image only, or a schedule counts iterations of all images.
    """

    priority = 'NORMAL'

    def __init__(self, share: float = 0.1, seed: int = 0) -> None:
        check_number('share', share, above=0, below=1)
        check_number('seed', seed, low=0, integer=True)
        self.share = share
        self.seed = seed
        self._held_out: Dataset | None = None

    def before_run(self, runner: Runner) -> None:
        self._held_out = self._held_out or hold_out(runner, self, self.share,
                                                    self.seed)

    def before_train(self, runner: Runner) -> None:
        self._validated = validated_epochs(runner)
        if (resumed_after_training(runner)
                and not get_detector(runner).students_measured):
            self._measure(runner)
            save_resumable_checkpoint(runner, runner.epoch, runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        for scale in get_detector(runner).scales.values():
            scale.score_statistics.reset()

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch == runner.max_epochs:
            save_resumable_checkpoint(runner, epoch, runner.iter)
            self._measure(runner)
        elif epoch in self._validated:
            self._measure(runner)

    def _measure(self, runner: Runner) -> None:
        students = get_detector(runner)
        # Set apart before the run, in `before_run`.
        loader = build_ordered_loader(runner,
                                      self._held_out)  # type: ignore[arg-type]
        fit_statistics(students, show_progress(loader,
                                               'Measuring the students'),
                       [(scale.score_statistics, scale)
                        for scale in students.scales.values()])
