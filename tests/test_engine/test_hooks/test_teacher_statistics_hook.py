from types import SimpleNamespace

import pytest
import torch

from mmad.engine.hooks import TeacherStatisticsHook, teacher_statistics_hook


class Students:
    """Notes what it is asked for."""

    def __init__(self, is_measured):
        self.is_measured = is_measured
        self.calls = []

    def measure_teachers(self, batches, number):
        self.calls.append((list(batches), number))

    def begin_epoch(self, epoch, max_epochs):
        self.calls.append((epoch, max_epochs))


@pytest.fixture
def make_runner(monkeypatch):

    def make(is_measured, resume=False):
        runner = SimpleNamespace(
            model=Students(is_measured), epoch=3, max_epochs=5, saved=[],
            cfg=dict(resume=resume))
        monkeypatch.setattr(
            teacher_statistics_hook, 'stage_loader',
            lambda runner, split: torch.utils.data.DataLoader(
                [f'{split} {i}' for i in range(3)]))
        monkeypatch.setattr(
            teacher_statistics_hook, 'save_stage',
            lambda runner, *args: runner.saved.append(args))
        return runner

    return make


def test_measures_once_and_saves(make_runner):
    runner = make_runner(is_measured=False)
    TeacherStatisticsHook().before_train(runner)
    assert runner.model.calls == [([['train 0'], ['train 1'], ['train 2']],
                                   3)]
    assert runner.saved == [(0, 0)]


def test_resumed(make_runner):
    runner = make_runner(is_measured=True, resume=True)
    TeacherStatisticsHook().before_train(runner)
    assert runner.model.calls == runner.saved == []


def test_weights_of_another_run_are_measured_anew(make_runner):
    runner = make_runner(is_measured=True)
    TeacherStatisticsHook().before_train(runner)
    assert len(runner.model.calls) == len(runner.saved) == 1


def test_tells_the_epoch(make_runner):
    runner = make_runner(is_measured=True)
    TeacherStatisticsHook().before_train_epoch(runner)
    assert runner.model.calls == [(3, 5)]
