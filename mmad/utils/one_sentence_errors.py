"""Make a command-line tool print wrong input as one sentence.

A bug keeps its traceback.
"""
import functools
import inspect
import sys
import types
from collections.abc import Callable, Sequence

import cv2
from mmcv.transforms import BaseTransform
from mmengine.registry import build_functions

from mmad.errors import InputError, printable
from mmad.interrupt import INTERRUPT_STATUS, is_interrupt

from .setup_env import leave_processes

_LIBRARIES = ('mmengine', 'mmcv', 'torch', 'torchvision')
# The libraries that the steps of MMCV call.
_IMAGE_LIBRARIES = ('numpy', 'PIL', 'cv2')


def one_sentence_errors(main: Callable) -> Callable:
    """Decorate the main function of a tool to print errors as one sentence.

    This applies to an :class:`InputError`, and to errors of a library about
    an argument in the config that a constructor or a step of a pipeline does
    not accept. The exit status is 2, and 130 after Ctrl-C. Any other
    exception is a bug and keeps its traceback, including those that are
    raised by classes of the user. The other processes of a distributed run
    end, too.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        # Every branch ends the process or raises the exception again.
        except BaseException as error:
            if is_interrupt(error):
                sys.stderr.write('interrupted.\n')
                leave_processes('was interrupted')
                sys.exit(INTERRUPT_STATUS)
            sentence = _describe(error)
            if sentence is None:
                leave_processes(
                    f'failed: {type(error).__name__}: {error}', patience=1.0)
                raise
            # File names may have any characters.
            sys.stderr.write(f'error: {printable(sentence)}\n')
            leave_processes(f'failed: {sentence.rstrip(".")}')
            sys.exit(2)
        leave_processes()

    return wrapped


def _describe(error: BaseException) -> str | None:
    """Return what the user has to correct, or None for a bug."""
    if isinstance(error, InputError):
        return _message(error)
    frames = _frames(error)
    text = ' '.join(str(error).split())[:500]
    if isinstance(error, ImportError) and _are_of_libraries(frames[-1:]):
        return ('the config asks for a part that needs another package: '
                f'{text}.')
    return (_describe_step(error, frames, text)
            or _describe_constructor(error, frames, text))


def _message(error: InputError) -> str:
    lines = str(error).strip().splitlines()
    if lines and lines[0].startswith('Caught '):
        # The error comes from a worker process and includes its traceback.
        # The message follows the name of the class.
        starts = [
            number for number, line in enumerate(lines)
            if 'InputError: ' in line
        ]
        lines = lines[starts[-1]:] if starts else lines
        lines[0] = lines[0].split('InputError: ', 1)[-1]
    return ' '.join(line.strip() for line in lines)


def _describe_step(error: BaseException, frames: Sequence[types.FrameType],
                   text: str) -> str | None:
    """Describe what a step of a library or of mmad needs or refuses."""
    calls = [
        number for number, frame in enumerate(frames)
        if frame.f_code is BaseTransform.__call__.__code__
    ]
    if not calls:
        return None
    step, results = (
        frames[calls[-1]].f_locals[name] for name in ('self', 'results'))
    name, inside = type(step).__name__, frames[calls[-1]:]
    if isinstance(error, KeyError) and error.args[:1] and (
            _are_of_libraries(inside, 'mmad', *_IMAGE_LIBRARIES)
            and error.args[0] not in results):
        return (f'the step {name} of a pipeline of the config needs '
                f'`{error.args[0]}`, which no step before it has made; check '
                'their order.')
    if isinstance(error, AssertionError | TypeError
                  | ValueError | cv2.error) and _are_of_libraries(
                      inside, *_IMAGE_LIBRARIES):
        return (f'the step {name} of a pipeline of the config refuses an '
                f'image: {text}.')
    return None


def _describe_constructor(error: BaseException,
                          frames: Sequence[types.FrameType],
                          text: str) -> str | None:
    """Describe what is wrong with the arguments of a part of a config."""
    calls = [
        number for number, frame in enumerate(frames)
        if frame.f_code is build_functions.build_from_cfg.__code__
    ]
    if not calls:
        return None
    found = frames[calls[-1]].f_locals
    kind, inside = found.get('obj_cls'), frames[calls[-1] + 1:]
    if kind is None:
        # The type was not found.
        return None if inside or not isinstance(
            error, KeyError | TypeError) else (
                f'a part of the config cannot be built: {text}.')
    if inside:
        # The libraries raise these for wrong arguments.
        refused = isinstance(error, AssertionError | TypeError
                             | ValueError) and _are_of_libraries(inside)
    else:
        refused = isinstance(
            error, TypeError) and not _accepts(kind, found.get('args'))
    return (f'{getattr(kind, "__name__", kind)} cannot be built from the '
            f'config: {text or type(error).__name__}.') if refused else None


def _accepts(kind: Callable, arguments: dict | None) -> bool:
    try:
        inspect.signature(kind).bind(**(arguments or {}))
    except TypeError:
        return False
    except ValueError:
        # There is no signature.
        return True
    return True


def is_library(module: str | None, *others: str) -> bool:
    """Return whether a module belongs to a library.

    The libraries are MMEngine, MMCV, PyTorch, torchvision and ``others``.
    """
    return str(module).split('.')[0] in (*_LIBRARIES, *others)


def _are_of_libraries(frames: Sequence[types.FrameType], *others: str) -> bool:
    """Return whether only code of libraries was called."""
    return bool(frames) and all(
        is_library(frame.f_globals.get('__name__'), *others)
        for frame in frames)


def _frames(error: BaseException) -> list[types.FrameType]:
    frames, traceback = [], error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
