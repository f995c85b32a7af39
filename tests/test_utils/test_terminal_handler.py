import logging
import runpy

import pytest
from mmengine.logging import MMLogger, print_log

from mmad.utils.terminal_handler import TerminalHandler


@pytest.fixture
def log(request, tmp_path):
    """Log as the module of a name would; what the terminal shows."""
    logger = MMLogger.get_instance(request.node.name, log_level='DEBUG')
    logger.handlers = [TerminalHandler(logging.INFO)]

    def from_module(module, message, level=logging.INFO, function='anyone'):
        (tmp_path / 'code.py').write_text(
            f'def {function}(): logger.log(level, message)\n{function}()')
        runpy.run_path(
            str(tmp_path / 'code.py'),
            run_name=module,
            init_globals=dict(logger=logger, level=level, message=message))

    from_module.handler, = logger.handlers
    from_module.logger = logger
    yield from_module
    del MMLogger._instance_dict[request.node.name]


@pytest.mark.parametrize(
    ('module', 'message', 'level', 'shown'),
    [('mmad.models.patchcore', 'Memory bank', 20, 'Memory bank\n'),
     ('my_hooks', '\n some table\n', 20, ' some table\n'),
     ('mmengineer', 'mine', 20, 'mine\n'),
     ('my_hooks', 'careful', 30, 'warning: careful\n'),
     ('my_hooks', 'deprecated', 30, 'warning: deprecated\n'),
     ('my_hooks', 'wrong', 40, 'error: wrong\n'),
     ('my_hooks', 'detail', 10, ''),
     ('mmengine.runner.runner', 'Config:\na = 1', 20, ''),
     ('mmengine.runner.runner', 'Hooks will be executed', 20, ''),
     ('mmengine.runner.runner', 'resumed epoch: 2, iter: 6', 20,
      'resumed epoch: 2, iter: 6\n'),
     ('mmengine.hooks.early_stopping_hook', 'stops', 20, 'stops\n'),
     ('mmengine.hooks.logger_hook', 'Exp name: a', 20, ''),
     ('mmengine.runner.runner', 'The value of random seed', 30,
      'warning: The value of random seed\n'),
     ('mmengine.fileio', '"FileClient" will be deprecated in future.', 30, ''),
     ('mmengine.optim.optimizer.default_constructor',
      'a.weight is skipped since its requires_grad=False', 30, ''),
     ('mmengine.fileio', '"FileClient" will be deprecated', 40,
      'error: "FileClient" will be deprecated\n')])
def test_whose_messages_are_shown(log, capsys, module, message, level, shown):
    log(module, message, level)
    assert capsys.readouterr().out == shown


def test_print_log_is_seen_through(log, capsys, monkeypatch):
    print_log('of this module', log.logger)
    assert capsys.readouterr().out == 'of this module\n'
    monkeypatch.setitem(globals(), '__name__', 'mmengine.runner.loops')
    print_log('of a loop', log.logger)
    assert not capsys.readouterr().out


def test_lines_that_are_replaced(log, capsys):
    log.handler.replaced = {'after_test_epoch'}
    module = 'mmengine.hooks.logger_hook'
    log(module, 'Epoch(test)', function='after_test_epoch')
    assert not capsys.readouterr().out
    log(module, 'Epoch(train)', function='after_train_iter')
    assert capsys.readouterr().out == 'Epoch(train)\n'
    # A hook of the user's own.
    log('my_hooks', 'mine', function='after_test_epoch')
    assert capsys.readouterr().out == 'mine\n'


def test_progress_without_timings(log, capsys):
    record = log.logger.makeRecord(
        'mmengine', logging.INFO, 'mmengine/hooks/logger_hook.py', 1,
        'Epoch(train)   [1][5/5]  lr: 1.0e-03  eta: 0:00:10  time: 2.1  '
        'data_time: 0.9  memory: 512  loss: 24.4  time_loss: 3  ', (), None)
    assert log.handler.format(record) == (
        'Epoch(train)  [1][5/5]  lr: 1.0e-03  eta: 0:00:10  loss: 24.4  '
        'time_loss: 3')


def test_data_are_described_once(log, capsys):
    log('mmad.datasets.found', 'took 7 images')
    log.handler.has_begun = True
    log('mmad.datasets.found', 'took 7 images')
    assert capsys.readouterr().out == 'took 7 images\n'
    log('mmad.datasets.found', 'left out 2', logging.WARNING)
    log('mmad.datasets.found', 'left out 2', logging.WARNING)
    assert capsys.readouterr().out == 'warning: left out 2\n'


def test_traceback(log, capsys):
    try:
        raise ValueError('a bug')
    except ValueError:
        log.logger.exception('failed')
    out = capsys.readouterr().out
    assert out.startswith('error: failed\nTraceback')
    assert out.endswith('ValueError: a bug\n')


def test_quiet_records(log, capsys):
    log.logger.warning('for the log file', extra=dict(quiet=True))
    assert not capsys.readouterr().out
