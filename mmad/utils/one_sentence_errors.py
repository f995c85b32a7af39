"""What a command-line tool prints when it fails: a sentence for bad input, a
traceback for a bug."""
import functools
import inspect
import sys
import types
from collections.abc import Callable, Sequence

import cv2
from mmcv.transforms import BaseTransform
from mmengine.registry import build_functions

from mmad.errors import InputError, printable
from mmad.interrupt import STATUS, is_interrupt

_LIBRARIES = ('mmengine', 'mmcv', 'torch', 'torchvision')
# What the steps of mmcv call.
_IMAGE_LIBRARIES = ('numpy', 'PIL', 'cv2')


def one_sentence_errors(main: Callable) -> Callable:
    """Let the main function of a tool end with a sentence for bad input.

    The sentence is that of an :class:`InputError`, or what a library says to
    an argument from the config: one that its constructor or a step of a
    pipeline refuses, or that no constructor has. The exit status is 2, after
    Ctrl-C 130. Every other exception is a bug and keeps its traceback, as
    does what a class of the user's own raises.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        # Each way out of here ends the process or raises again.
        except BaseException as error:
            if is_interrupt(error):
                sys.stderr.write('interrupted.\n')
                sys.exit(STATUS)
            sentence = _describe(error)
            if sentence is None:
                raise
            # A name in a file may have any characters.
            sys.stderr.write(f'error: {printable(sentence)}\n')
            sys.exit(2)

    return wrapped


def _describe(error: BaseException) -> str | None:
    """What the user is to put right, or None for a bug."""
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
        # From a worker process, with the traceback of that one; the message
        # begins behind the name of the class.
        starts = [
            number for number, line in enumerate(lines)
            if 'InputError: ' in line
        ]
        lines = lines[starts[-1]:] if starts else lines
        lines[0] = lines[0].split('InputError: ', 1)[-1]
    return ' '.join(line.strip() for line in lines)


def _describe_step(error: BaseException, frames: Sequence[types.FrameType],
                   text: str) -> str | None:
    """What a step of a library or of mmad lacks or refuses."""
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
                f'`{error.args[0]}`, which no step before it has made; mind '
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
    """What was wrong with the arguments that a config has for a part."""
    calls = [
        number for number, frame in enumerate(frames)
        if frame.f_code is build_functions.build_from_cfg.__code__
    ]
    if not calls:
        return None
    found = frames[calls[-1]].f_locals
    kind, inside = found.get('obj_cls'), frames[calls[-1] + 1:]
    if kind is None:
        # Not even the type was found.
        return None if inside or not isinstance(
            error, KeyError | TypeError) else (
                f'a part of the config cannot be built: {text}.')
    if inside:
        # The libraries check their arguments by these.
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
        # It tells nothing of its arguments.
        return True
    return True


def is_library(module: str | None, *others: str) -> bool:
    """Whether a module is one of MMEngine, MMCV, PyTorch or torchvision, or
    of ``others``."""
    return str(module).split('.')[0] in (*_LIBRARIES, *others)


def _are_of_libraries(frames: Sequence[types.FrameType], *others: str) -> bool:
    """Whether no code of the user's own is among what was called."""
    return bool(frames) and all(
        is_library(frame.f_globals.get('__name__'), *others)
        for frame in frames)


def _frames(error: BaseException) -> list[types.FrameType]:
    frames, traceback = [], error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
