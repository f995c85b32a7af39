from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.registry import HOOKS

from .stages import detector_of, progress, save_stage, stage_loader


@HOOKS.register_module()
class TeacherStatisticsHook(Hook):
    """Measures the teachers of Uninformed Students before training.

    Mean and standard deviation of each component of their descriptors, over
    all pixels of all training images, are streamed, the same for any number
    of processes, and kept in ``epoch_0.pth``. A resumed run has them already.
    """

    # After CalibrationHook, which first sees to it that it has images.
    priority = 'BELOW_NORMAL'

    def before_train(self, runner: Runner) -> None:
        students = detector_of(runner)
        # Weights from another run bring that one's statistics along.
        if students.is_measured and runner.cfg.get('resume'):
            return
        loader = stage_loader(runner, 'train')
        students.measure_teachers(
            progress(loader, 'Measuring the teachers'), len(loader.dataset))
        save_stage(runner, 0, 0)

    def before_train_epoch(self, runner: Runner) -> None:
        detector_of(runner).begin_epoch(runner.epoch, runner.max_epochs)
