from types import SimpleNamespace

import pytest

from mmad.engine.hooks import TeacherStatisticsHook, teacher_statistics_hook


class Students:
    """Notes what it is asked for."""

    scales = {}

    def __init__(self, teachers_measured):
        self.teachers_measured = teachers_measured
        self.calls = []

    def require_teachers(self):
        self.calls.append('teachers')


@pytest.fixture
def make_runner(monkeypatch):

    def make(teachers_measured, resume=False):
        runner = SimpleNamespace(
            model=Students(teachers_measured),
            saved=[],
            cfg=dict(resume=resume),
            train_loop=SimpleNamespace(
                dataloader=SimpleNamespace(dataset='images')))
        monkeypatch.setattr(teacher_statistics_hook, 'build_ordered_loader',
                            lambda runner, dataset: [dataset])
        monkeypatch.setattr(
            teacher_statistics_hook, 'fit_statistics',
            lambda students, batches, parts: students.calls.extend(batches))
        monkeypatch.setattr(teacher_statistics_hook,
                            'save_resumable_checkpoint',
                            lambda runner, *args: runner.saved.append(args))
        return runner

    return make


def test_measures_once_and_saves(make_runner):
    runner = make_runner(teachers_measured=False)
    TeacherStatisticsHook().before_train(runner)
    assert runner.model.calls == ['teachers', 'images']
    assert runner.saved == [(0, 0)]


def test_resumed(make_runner):
    runner = make_runner(teachers_measured=True, resume=True)
    TeacherStatisticsHook().before_train(runner)
    assert runner.model.calls == runner.saved == []


def test_weights_of_another_run_are_measured_anew(make_runner):
    runner = make_runner(teachers_measured=True)
    TeacherStatisticsHook().before_train(runner)
    assert runner.model.calls == ['teachers', 'images']
    assert len(runner.saved) == 1
