from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.registry import HOOKS

from .stages import (
    detector_of,
    fit_statistics,
    one_by_one,
    progress,
    save_stage,
)


@HOOKS.register_module()
class TeacherStatisticsHook(Hook):
    """Measures the teachers of Uninformed Students before training.

    Mean and standard deviation of each component of their descriptors, over
    all pixels of all training images the
    same for any number of processes, are kept in ``epoch_0.pth``. A resumed
    run has them already.
    """

    # After TrainingStartHook, which forgets an earlier training.
    priority = 'BELOW_NORMAL'

    def before_train(self, runner: Runner) -> None:
        students = detector_of(runner)
        # Weights from another run bring that one's statistics along.
        if students.is_measured and runner.cfg.get('resume'):
            return
        students.require_teachers()
        loader = one_by_one(runner, runner.train_loop.dataloader.dataset)
        fit_statistics(students, progress(loader, 'Measuring the teachers'),
                       [(scale.teacher_statistics, scale.teacher.dense)
                        for scale in students.scales.values()])
        save_stage(runner, 0, 0)
