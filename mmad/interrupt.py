"""End a tool on Ctrl-C without a traceback."""
import os
import signal
import sys

INTERRUPT_STATUS = 128 + signal.SIGINT


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether an exception is Ctrl-C or was caused by it.

    MMEngine, for example, turns any exception that is raised while it formats
    a config into a ``SyntaxError``, including that of Ctrl-C.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def exit_quietly_on_interrupt() -> None:
    """Make Ctrl-C end the process without a traceback, also during imports."""
    original = sys.excepthook

    def end(kind, error, traceback):
        if is_interrupt(error):
            sys.stderr.write('interrupted.\n')
            sys.stderr.flush()
            # Python itself would end by a signal instead of a status.
            os._exit(INTERRUPT_STATUS)
        original(kind, error, traceback)

    sys.excepthook = end
