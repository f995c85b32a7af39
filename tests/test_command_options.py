import argparse
import subprocess
import sys

import pytest
from config_texts import ROOT

from mmad.command_options import (
    add_checkpoint_arguments,
    add_run_arguments,
)


def parse(add, *words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add(parser)
    return vars(parser.parse_args(words))


def test_nothing_replaces_the_config_by_default():
    given = parse(add_run_arguments)
    assert given == dict(
        dict.fromkeys(given), launcher='none', verbose=False, local_rank=0)
    assert parse(add_checkpoint_arguments) == dict(config=None, modules=[])


@pytest.mark.parametrize(
    'option', ['--cfg-options', '--normal-dir', '--normal-test-dir'])
def test_an_option_that_is_given_twice_is_continued(option):
    given = parse(add_run_arguments, option, 'a=1', 'b=2', '--category', 'x',
                  option, 'c=3')
    assert given[option[2:].replace('-', '_')] == ['a=1', 'b=2', 'c=3']
    assert given['category'] == 'x'


def test_modules():
    given = parse(add_checkpoint_arguments, '--modules', 'a', 'b', '--config',
                  'c.py')
    assert given == dict(modules=['a', 'b'], config='c.py')


def test_values():
    names = ('data', 'data_root', 'category', 'abnormal_dir', 'mask_dir',
             'weights', 'work_dir')
    words = [
        word for name in names
        for word in ('--' + name.replace('_', '-'), f'a {name}')
    ]
    given = parse(add_run_arguments, *words, '--verbose', '--launcher',
                  'slurm')
    assert given == dict(
        dict.fromkeys(given),
        **{name: f'a {name}'
           for name in names},
        launcher='slurm',
        verbose=True,
        local_rank=0)


@pytest.mark.parametrize('option', ['--local_rank', '--local-rank'])
def test_both_spellings_of_a_launcher(option):
    assert parse(add_run_arguments, option, '3')['local_rank'] == 3


def test_unknown_launcher():
    with pytest.raises(argparse.ArgumentError, match='slurm'):
        parse(add_run_arguments, '--launcher', 'ssh')


def test_help_need_not_wait_for_libraries(tmp_path):
    code = ('import argparse, sys; from mmad import command_options as c; '
            'p = argparse.ArgumentParser(); c.add_run_arguments(p); '
            'p.format_help(); '
            'print({"torch", "mmengine", "numpy", "cv2"} & set(sys.modules))')
    result = subprocess.run([sys.executable, '-c', code],
                            cwd=tmp_path,
                            env={'PYTHONPATH': str(ROOT)},
                            capture_output=True,
                            text=True,
                            check=True)
    assert result.stdout == 'set()\n'
