import logging
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import mmengine
import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger

from mmad.registry import DATASETS
from mmad.terminal import (
    open_terminal,
    say,
    shown_path,
    tool_command,
    use_terminal,
)
from mmad.utils.command_line import check_data

ROOT = Path(__file__).resolve().parents[1]
CATEGORY = ('--category', 'bottle')
NOISE = ('System environment', 'Hooks will be executed', 'deprecated',
         'param_scheduler', 'default_hooks=dict')


@pytest.fixture(scope='module')
def fitted_folder(run_tool, config, tmp_path_factory):
    """Where a fit and a test were run: their output in `train`, `test`."""
    folder = tmp_path_factory.mktemp('quiet')
    for name, args in dict(
            train=[config, *CATEGORY, '--work-dir', 'work'],
            test=[
                config, 'work/epoch_1.pth', *CATEGORY, '--work-dir',
                'work_test', '--show-dir', 'maps'
            ]).items():
        result = run_tool(folder, f'{name}.py', *args)
        assert result.status == 0, result.err
        assert not result.err
        (folder / name).write_text(result.out)
    return folder


def test_a_run_says_what_a_person_wants_to_know(fitted_folder, config):
    lines = (fitted_folder / 'train').read_text().splitlines()
    assert lines[:2] == [f'Config: {config}', 'Method: PatchCore']
    assert 'took 7 images (7 good)' in lines[2]
    assert 'took 8 images (3 good, 2 hole, 3 scratch)' in lines[3]
    assert lines[4] == 'Results: work'
    text = '\n'.join(lines)
    for title in ('Extracting features', 'Validating'):
        assert text.count(title) == 1
    assert text.count('image_auroc') == 1
    assert lines[-3:-1] == [
        'Checkpoint: work/epoch_1.pth', 'Metrics: work/metrics.json'
    ]

    lines = (fitted_folder / 'test').read_text().splitlines()
    assert lines[1] == 'Method: PatchCore, from work/epoch_1.pth'
    assert lines[-3:-1] == [
        'Heat maps: maps', 'Metrics: work_test/metrics.json'
    ]
    assert lines[-1].startswith('Next: ')
    assert sum('took' in line for line in lines) == 1


def test_no_noise(fitted_folder, run_tool, config, tmp_path):
    quick = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--no-validate')
    for text in (quick.out, (fitted_folder / 'train').read_text(),
                 (fitted_folder / 'test').read_text()):
        assert not [word for word in NOISE if word in text]
    number = len((quick.out + text).splitlines())
    # As in `make demo`, which makes data first, shows its own three commands
    # and has three more defect types.
    assert number + 2 + 4 + 3 <= 42


def test_the_log_file_has_all(fitted_folder):
    log, = (fitted_folder / 'work').glob('*/*.log')
    text = log.read_text()
    assert not [word for word in NOISE if word not in text]
    for line in (fitted_folder / 'train').read_text().splitlines():
        assert '━' in line or line.removeprefix('warning: ') in text
    assert text.count("dict(type='LoadImage')") == 1
    assert 'val_dataloader=test_dataloader\n' in text


def test_the_next_command_works(fitted_folder, run_tool, tmp_path):
    *_, last = (fitted_folder / 'train').read_text().splitlines()
    assert last.startswith('Next: python ')
    _, _, tool, *args = shlex.split(last)
    assert args[-2:] == ['--show-dir', 'work/heat_maps']
    args[:2] = [fitted_folder / arg for arg in args[:2]]
    result = run_tool(tmp_path, Path(tool).name, *args, '--work-dir', 'again')
    assert result.status == 0, result.err
    assert (tmp_path / 'again/metrics.json').read_bytes() == (
        fitted_folder / 'work/metrics.json').read_bytes()
    assert len(list(tmp_path.glob('work/heat_maps/*/*.png'))) == 8
    _, _, tool, *args = shlex.split(result.out.splitlines()[-1])
    result = run_tool(tmp_path, Path(tool).name, *args)
    assert result.status == 0, result.err
    assert (tmp_path / 'again/report.html').is_file()


def test_verbose(run_tool, config, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--verbose',
                      '--no-validate')
    assert result.status == 0, result.err
    assert not [word for word in NOISE if word not in result.out]


def test_progress_of_a_training(run_tool, mkd_config, tmp_path):
    result = run_tool(tmp_path, 'train.py', mkd_config, *CATEGORY,
                      '--work-dir', 'work', '--cfg-options',
                      'default_hooks.checkpoint.save_best=image_auroc',
                      'train_cfg.max_epochs=2')
    assert result.status == 0, result.err
    epochs = [line for line in result.out.splitlines() if 'Epoch(' in line]
    assert len(epochs) == 2
    assert all('loss: ' in line and 'time: ' not in line for line in epochs)
    assert 'Extracting' not in result.out
    assert 'The best checkpoint' in result.out
    # Resumed, the config in the work directory can still be tested with.
    result = run_tool(tmp_path, 'train.py', mkd_config, *CATEGORY,
                      '--work-dir', 'work', '--resume', '--cfg-options',
                      'train_cfg.max_epochs=3', 'train_cfg.val_interval=3')
    assert result.status == 0, result.err
    assert 'Resumed from: ' in result.out
    assert 'resumed epoch: 2' in result.out
    result = run_tool(tmp_path, 'test.py', 'work/tiny_mkd.py',
                      'work/epoch_3.pth')
    assert result.status == 0, result.err


def test_without_the_hooks_their_place_is_not_empty(run_tool, config,
                                                    tmp_path):
    (tmp_path / 'bare.py').write_text(
        f"_base_ = '{config}'\ndefault_hooks = dict(_delete_=True)\n")
    result = run_tool(tmp_path, 'train.py', 'bare.py', *CATEGORY)
    assert result.status == 0, result.err
    assert 'image_auroc: ' in result.out
    assert 'Epoch(train) [1]' in result.out
    assert 'Extracting' not in result.out
    assert 'Metrics: ' not in result.out


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'print_config.py'])
def test_help_imports_nothing_large(tool):
    code = (f'import runpy, sys; sys.argv[1:] = ["--help"]\n'
            f'try: runpy.run_path("tools/{tool}", run_name="__main__")\n'
            'finally: assert not {"torch", "mmengine"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code],
                   cwd=ROOT,
                   check=True,
                   env={
                       **os.environ, 'PYTHONPATH': str(ROOT)
                   },
                   capture_output=True)


@pytest.fixture(autouse=True)
def usual_warnings(monkeypatch):
    """Python's own way, in the place of pytest's."""

    def show(message, category, filename, lineno, file=None, line=None):
        sys.stderr.write(
            warnings.formatwarning(message, category, filename, lineno, line))

    monkeypatch.setattr(warnings, 'showwarning', show)


@pytest.fixture
def opened(request, usual_warnings):
    """A terminal as a tool sets it up, with options of its own."""
    MMLogger._instance_dict.pop('tool', None)
    open_terminal(**getattr(request, 'param', {}))
    yield
    del MMLogger._instance_dict['tool']


def warn(category, filename):
    warnings.showwarning(category('beware'), category, str(filename), 3)


@pytest.fixture
def make_logger(tmp_path):
    """The logger of a run; what its file says."""
    logger = MMLogger.get_instance(
        str(tmp_path), log_file=str(tmp_path / 'log'), log_level='INFO')
    yield logger, (tmp_path / 'log').read_text
    logger.handlers.clear()
    del MMLogger._instance_dict[str(tmp_path)]


@pytest.mark.parametrize(
    ('category', 'path', 'is_shown'),
    [(UserWarning, '/own/hook.py', True),
     (UserWarning, '/own/torch/numpy/hook.py', True),
     (UserWarning, '/lib/site-packages/mine/torch/hook.py', True),
     (UserWarning, mmengine.__file__, False),
     (UserWarning, ROOT / 'mmad' / 'registry.py', True),
     (UserWarning, '/lib/site-packages/torch/functional.py', False),
     (FutureWarning, '/own/hook.py', False),
     (DeprecationWarning, ROOT / 'mmad' / 'registry.py', False)])
@pytest.mark.parametrize('is_early', [True, False])
def test_warnings(opened, make_logger, capsys, category, path, is_shown,
                  is_early):
    logger, read = make_logger
    if is_early:
        warn(category, path)
    assert len(use_terminal(logger)) == 1
    if not is_early:
        warn(category, path)
    out, err = capsys.readouterr()
    assert not out
    assert ('beware' in err) == is_shown
    assert f'{path}:3: {category.__name__}: beware' in read()


@pytest.mark.parametrize('opened', [dict(verbose=True)], indirect=True)
def test_all_is_shown(opened, make_logger, capsys):
    logger, _ = make_logger
    handlers = list(logger.handlers)
    assert use_terminal(logger) == []
    assert logger.handlers == handlers
    warn(DeprecationWarning, 'torch/a.py')
    assert 'beware' in capsys.readouterr().err


def test_the_log_begins_with_what_was_said_before(opened, make_logger, capsys):
    logger, read = make_logger
    MMLogger.get_instance('tool').info('Config: a\\nb.py')
    use_terminal(logger)
    assert capsys.readouterr().out == 'Config: a\\nb.py\n'
    assert 'INFO - Config: a\\nb.py' in read()


def test_other_processes_are_silent_but_for_errors(monkeypatch, capsys):
    monkeypatch.setenv('RANK', '1')
    MMLogger._instance_dict.pop('tool', None)
    open_terminal('pytorch')
    logger = MMLogger._instance_dict.pop('tool')
    logger.info('something')
    logger.log(logging.ERROR, 'wrong')
    assert capsys.readouterr().out == 'error: wrong\n'


def test_say(opened, capsys):
    say('Results', 'a\nb')
    assert capsys.readouterr().out == 'Results: a\\nb\n'


@DATASETS.register_module(force=True)
class SilentDataset(BaseDataset):
    """It logs nothing."""

    def load_data_list(self):
        return [dict(inputs=0, data_samples=index) for index in range(3)]


def test_data_that_say_nothing_are_counted(opened, capsys):
    dataset = dict(type='SilentDataset')
    check_data(
        Config(dict(test_dataloader=dict(dataset=dataset))),
        ['train_dataloader', 'test_dataloader'])
    assert capsys.readouterr().out == 'SilentDataset: 3 images.\n'


def test_shown_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / 'work' / 'a.pth') == 'work/a.pth'
    assert shown_path('work') == 'work'
    assert shown_path(tmp_path.parent / 'b') == str(tmp_path.parent / 'b')


@pytest.mark.parametrize(('program', 'command'), [
    ('mmad train', ['mmad', 'browse-dataset']),
    ('tools/train.py', ['python', 'tools/browse_dataset.py']),
    ('mmad x/train.py', ['python', 'mmad x/browse_dataset.py']),
])
def test_tools_are_named_as_this_one_was_started(program, command,
                                                 monkeypatch):
    monkeypatch.setattr('sys.argv', [program])
    assert tool_command('browse_dataset') == command
