import logging

import pytest
from mmengine.config import Config
from mmengine.hooks import LoggerHook
from mmengine.logging import MMLogger

from mmad.engine import ProgressHook, ToolRunner
from mmad.registry import HOOKS
from mmad.utils import setup_environment


@HOOKS.register_module()
class LoudLoggerHook(LoggerHook):
    """A user's own."""

    def after_test_epoch(self, runner, metrics=None):
        runner.logger.info(f'mine: {len(metrics)}')


@pytest.fixture
def make_tool_runner(load_cfg):
    setup_environment()
    return lambda *args, **changes: ToolRunner.from_cfg(
        load_cfg(*args, **changes))


def test_without_a_tool_it_shows_what_mmengine_does(make_tool_runner,
                                                    tmp_path):
    MMLogger._instance_dict.pop('tool', None)
    runner = make_tool_runner('config', log_level='INFO')
    assert [type(handler) for handler in runner.logger.handlers
            ] == [logging.StreamHandler, logging.FileHandler]
    runner.train()
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_the_written_config_is_that_of_the_run(make_tool_runner, tmp_path):
    runner = make_tool_runner('config')
    assert runner.config_path == tmp_path / 'tiny.py'
    written = Config.fromfile(runner.config_path)
    assert written.to_dict() == runner.cfg.to_dict()
    assert runner.config_path.read_text().count('CenterCrop') == 1


def test_no_bar_is_left_open(make_tool_runner, monkeypatch):
    runner = make_tool_runner('config')
    hook, = (hook for hook in runner.hooks if isinstance(hook, ProgressHook))

    def fail(*args, **kwargs):
        assert hook._bar is not None
        raise RuntimeError('broken')

    monkeypatch.setattr(runner.model, 'train_step', fail)
    with pytest.raises(RuntimeError, match='broken'):
        runner.train()
    assert hook._bar is None


def test_a_logger_hook_of_ones_own(run_tool, config, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, '--category', 'bottle',
                      '--work-dir', 'work', '--cfg-options',
                      'default_hooks.logger.type=LoudLoggerHook')
    assert result.status == 0, result.err
    result = run_tool(tmp_path, 'test.py', 'work/tiny.py', 'work/epoch_1.pth')
    assert result.status == 0, result.err
    assert 'mine: 10' in result.out
