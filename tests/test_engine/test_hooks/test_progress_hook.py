from types import SimpleNamespace

import pytest

from mmad.engine import ProgressHook
from mmad.engine.hooks import progress_hook

RUNNER = SimpleNamespace(
    optim_wrapper={},
    train_dataloader=range(4),
    val_dataloader=range(3),
    test_dataloader=range(5))


@pytest.mark.parametrize(('stage', 'title', 'number'),
                         [('train', 'Extracting features', 4),
                          ('val', 'Validating', 3), ('test', 'Testing', 5)])
def test_one_line_where_there_is_no_terminal(capsys, stage, title, number):
    hook = ProgressHook()
    for _ in range(2):
        getattr(hook, f'before_{stage}_epoch')(RUNNER)
        for index in range(number):
            getattr(hook, f'after_{stage}_iter')(RUNNER, batch_idx=index)
        getattr(hook, f'after_{stage}_epoch')(RUNNER)
        line, = capsys.readouterr().out.splitlines()
        assert line.startswith(title)
        assert '100%' in line


def test_training_by_gradients_has_none(capsys):
    hook = ProgressHook()
    ProgressHook().before_test_epoch(RUNNER)
    runner = SimpleNamespace(optim_wrapper=object())
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, batch_idx=0)
    hook.after_train_epoch(runner)
    # That of the test, which was left open.
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_first_process_only(capsys, monkeypatch):
    monkeypatch.setattr(progress_hook, 'is_main_process', lambda: False)
    hook = ProgressHook()
    hook.before_test_epoch(RUNNER)
    hook.after_test_iter(RUNNER)
    hook.after_test_epoch(RUNNER)
    assert not capsys.readouterr().out


@pytest.mark.parametrize('same', [True, False])
def test_a_bar_that_was_left_open_is_closed(capsys, same):
    hook = ProgressHook()
    hook.before_test_epoch(RUNNER)
    other = hook if same else ProgressHook()
    other.before_val_epoch(RUNNER)
    for index in range(3):
        other.after_val_iter(RUNNER, batch_idx=index)
    other.after_val_epoch(RUNNER)
    # Rich would show two at a time with empty lines in between.
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('Testing')
    assert second.startswith('Validating')
