import itertools
import subprocess
import sys

import pytest

from mmad.interrupt import INTERRUPT_STATUS, is_interrupt

SCRIPT = '''
from mmad.interrupt import exit_quietly_on_interrupt
exit_quietly_on_interrupt()
{}
'''


def chained(*errors):
    """The first, raised from the second, and so on."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize('error', [
    KeyboardInterrupt(),
    chained(SyntaxError(), KeyboardInterrupt()),
    chained(ValueError(), SyntaxError(), KeyboardInterrupt())
])
def test_interrupts(error):
    assert is_interrupt(error)


def test_others():
    loop = ValueError()
    loop.__cause__ = chained(KeyError(), loop)
    for error in (None, ValueError(), loop, SystemExit(1)):
        assert not is_interrupt(error)


@pytest.mark.parametrize(
    ('line', 'status', 'end'),
    [('raise KeyboardInterrupt', INTERRUPT_STATUS, 'interrupted.\n'),
     ('1 / 0', 1, 'ZeroDivisionError: division by zero\n')])
def test_before_main_has_begun(line, status, end):
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT.format(line)],
        capture_output=True,
        text=True)
    assert done.returncode == status
    assert done.stderr.endswith(end)
    assert ('Traceback' in done.stderr) == (status == 1)
