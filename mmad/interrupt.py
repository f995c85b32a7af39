"""Ending a tool on Ctrl-C without a traceback."""
import os
import signal
import sys

STATUS = 128 + signal.SIGINT


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an exception is Ctrl-C or was raised because of it.

    MMEngine, for one, turns all that is raised while it formats a config,
    Ctrl-C included, into a ``SyntaxError``.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def watch_imports() -> None:
    """Let Ctrl-C end the process quietly before ``main`` has begun, too."""
    usual = sys.excepthook

    def end(kind, error, traceback):
        if is_interrupt(error):
            sys.stderr.write('interrupted.\n')
            sys.stderr.flush()
            # Python itself would end with a signal in place of a status.
            os._exit(STATUS)
        usual(kind, error, traceback)

    sys.excepthook = end
