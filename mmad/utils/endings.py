"""How the command-line tools end: a sentence for bad input, a traceback for
a bug."""
import functools
import inspect
import sys
import types
from collections.abc import Callable

import cv2
from mmcv.transforms import BaseTransform
from mmengine.registry import build_functions

from mmad.errors import InputError, printable
from mmad.interrupt import STATUS, is_interrupt

_LIBRARIES = ('mmengine', 'mmcv', 'torch', 'torchvision')


def one_sentence_errors(main: Callable) -> Callable:
    """End with the sentence of an :class:`InputError`, status 2.

    So do the complaints of a constructor of MMEngine, MMCV or PyTorch about
    what a config has for it. Ctrl-C ends with status 130. Every other
    exception is a bug and keeps its traceback.
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
            sentence = _sentence(error)
            if sentence is None:
                raise
            # A name in a file may have any characters.
            sys.stderr.write(f'error: {printable(sentence)}\n')
            sys.exit(2)

    return wrapped


def _sentence(error: BaseException) -> str | None:
    """What the user is to put right, or None for a bug."""
    if isinstance(error, InputError):
        lines = str(error).strip().splitlines()
        if lines and lines[0].startswith('Caught '):
            # From a worker process, with the traceback of that one; the
            # message begins behind the name of the class.
            names = [place for place, line in enumerate(lines)
                     if 'InputError: ' in line]
            lines = lines[names[-1]:] if names else lines
            lines[0] = lines[0].split('InputError: ', 1)[-1]
        return ' '.join(line.strip() for line in lines)
    frames = list(_frames(error))
    text = ' '.join(str(error).split())[:500]
    if isinstance(error, ImportError) and frames and is_library(
            frames[-1].f_globals.get('__name__')):
        return (f'the config asks for a part that needs another package: '
                f'{text}.')
    refused = isinstance(error, ValueError | TypeError | AssertionError)
    steps = [frame for frame in frames
             if frame.f_code is BaseTransform.__call__.__code__]
    if steps and isinstance(error, KeyError):
        step, results = (steps[-1].f_locals[name]
                         for name in ('self', 'results'))
        key = error.args[0] if error.args else None
        if key not in results and is_library(
                type(step).__module__, 'mmad'):
            return (f'the step {type(step).__name__} of a pipeline of the '
                    f'config needs `{key}`, which no step before it has made; '
                    'mind their order.')
    if (refused or isinstance(error, cv2.error)) and steps:
        step = steps[-1].f_locals['self']
        inside = frames[frames.index(steps[-1]):]
        if not any(_is_ours(frame) for frame in inside) and is_library(
                type(step).__module__):
            return (f'the step {type(step).__name__} of a pipeline of the '
                    f'config refuses an image: {text}.')
    calls = [place for place, frame in enumerate(frames)
             if frame.f_code is build_functions.build_from_cfg.__code__]
    if not calls:
        return None
    kind = frames[calls[-1]].f_locals.get('obj_cls')
    if kind is None:
        # Not even the type was found.
        if isinstance(error, KeyError | TypeError) and calls[-1] == len(
                frames) - 1:
            return f'a part of the config cannot be built: {text}.'
        return None
    name = getattr(kind, '__name__', kind)
    inside = frames[calls[-1] + 1:]
    if isinstance(error, TypeError) and not inside and not _accepts(
            kind, frames[calls[-1]].f_locals.get('args')):
        return f'{name} cannot be built from the config: {text}.'
    # The libraries check their arguments by these.
    if refused and inside and all(
            is_library(frame.f_globals.get('__name__')) for frame in inside):
        return (f'{name} cannot be built from the config: '
                f'{text or type(error).__name__}.')
    return None


def _accepts(kind: object, arguments: dict | None) -> bool:
    try:
        inspect.signature(kind).bind(**(arguments or {}))
    except TypeError:
        return False
    except ValueError:
        # It tells nothing of its arguments.
        return True
    return True


def _is_ours(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get('__name__')).startswith('mmad.')


def is_library(module: str | None, *others: str) -> bool:
    """Whether a module is one of MMEngine, MMCV, PyTorch or torchvision, or
    of ``others``."""
    return str(module).split('.')[0] in (*_LIBRARIES, *others)


def _frames(error: BaseException) -> list[types.FrameType]:
    frames, traceback = [], error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
