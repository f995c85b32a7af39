from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.registry import HOOKS
from mmad.utils.progress import show_progress

from .hook_utils import (
    build_ordered_loader,
    fit_statistics,
    get_detector,
    save_resumable_checkpoint,
)


@HOOKS.register_module()
class TeacherStatisticsHook(Hook):
    """Measure the descriptors of the teachers of Uninformed Students.

    Before training, the mean and the standard deviation of each component of
    the descriptors are computed over all pixels of all training images. They
    do not depend on the number of processes. They are saved in
    ``epoch_0.pth``, so a resumed run does not compute them again.
    """

    # After TrainingStartHook, which resets an earlier training.
    priority = 'BELOW_NORMAL'

    def before_train(self, runner: Runner) -> None:
        students = get_detector(runner)
        # Weights loaded from another run contain the statistics of that run.
        if students.teachers_measured and runner.cfg.get('resume'):
            return
        students.require_teachers()
        loader = build_ordered_loader(runner,
                                      runner.train_loop.dataloader.dataset)
        fit_statistics(students, show_progress(loader,
                                               'Measuring the teachers'),
                       [(scale.teacher_statistics, scale.teacher.dense)
                        for scale in students.scales.values()])
        save_resumable_checkpoint(runner, 0, 0)
