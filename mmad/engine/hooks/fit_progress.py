import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.models import FitDetector
from mmad.models.layers import FittedModule, all_gather, all_reduce_
from mmad.models.layers.processes import barrier, broadcast_, rank, world_size
from mmad.utils import load_checkpoint
from mmad.utils.atomic_files import open_atomically

from .fit_description import describe_fit
from .hook_utils import get_detector

_BATCHES = 8  # from one look at the clock to the next
_IMAGES = 64  # whose features are written to one file


class FitProgress:
    """Notes of a long fit, from which an interrupted one goes on.

    Each process writes what it has taken in to a folder of its own,
    ``WORK_DIR/fit_progress/RANK``, all of them after the same batch or step
    of the fit. A note adds the images that are new; what belongs to no image
    takes the place of what the last note has of it, and sums are written as a
    whole. Beside the notes lies a description of all that a fit depends on,
    so that only the same fit goes on from them.

    Args:
        runner (Runner): Runner whose detector has begun a fit.
        after (float): Seconds until the first note.
        interval (float): Seconds from one note to the next.
    """

    def __init__(self, runner: Runner, after: float, interval: float) -> None:
        self.folder = Path(runner.work_dir, 'fit_progress')
        self._runner = runner
        self._detector: FitDetector = get_detector(runner)
        self._members: Sequence[FitDetector] = (
            self._detector.combined or [self._detector])
        self._own = self.folder / str(rank())
        self._interval = interval
        self._due = time.monotonic() + after
        self._is_on = True
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._number = 0  # notes so far
        # Of each member: the pass of its notes, how many of its images they
        # have, and the files that these are in.
        self._passes = [-1] * len(self._members)
        self._told = [0] * len(self._members)
        self._files: list[list[Path]] = [[] for _ in self._members]

    @property
    def passes_done(self) -> int:
        """Number of passes before the present one."""
        return self._fitting[0].passes_done

    @property
    def batches_done(self) -> int:
        """Number of batches of the present pass, per process."""
        return self._fitting[0].current_pass.num_batches

    @property
    def exists(self) -> bool:
        """Whether there are notes of an earlier fit."""
        return (self._own / 'description.json').exists()

    def after_batch(self) -> None:
        """Write a note if it is time; to be called after each batch."""
        current = self._fitting[0].current_pass
        # All processes have so many batches.
        sure = current.num_images // world_size() // current.batch_size
        if (current.num_batches % _BATCHES == 0
                and current.num_batches <= sure):
            self._note_if_due()

    @contextmanager
    def during_finalize(self) -> Iterator[None]:
        """Write notes in between while a pass is ended in this context."""
        modules = self._modules
        for module in modules:
            module.on_progress = self._note_if_due
        try:
            yield
        finally:
            for module in modules:
                del module.on_progress

    def remove(self) -> None:
        """Remove the notes of all processes."""
        barrier()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note_if_due(self) -> None:
        is_due = torch.tensor(
            int(self._is_on and time.monotonic() > self._due))
        if not broadcast_(is_due):
            return
        silent = [
            type(module).__name__ for module in self._modules
            if not module.tells_progress
        ]
        if silent:
            self._runner.logger.info(
                f'The {silent[0]} cannot tell how far it has come, so that '
                'this fit begins anew if it is interrupted.')
            self._is_on = False
        # Between the ends of their passes, a batch would be for some only.
        elif len({member.passes_done for member in self._fitting}) == 1:
            self._write()
        self._due = time.monotonic() + self._interval

    def _write(self) -> None:
        error = None
        obsolete: list[Path] = []
        try:
            if not self._number:
                shutil.rmtree(self._own, ignore_errors=True)
                _write_json(self._own / 'description.json',
                            describe_fit(self._runner))
            entries = [
                self._write_member(number, obsolete)
                for number in range(len(self._members))
            ]
            _write_json(self._note(self._number), entries)
            obsolete.append(self._note(self._number - 1))
        except (InputError, OSError) as caught:
            error = caught
        if all_reduce_(torch.tensor(int(error is not None))):
            self._runner.logger.warning(
                f'No notes of this fit in "{self.folder}": '
                f'{error or "another process cannot write there."} The fit '
                'goes on, but begins anew if it is interrupted.')
            self._is_on = False
            shutil.rmtree(self._own, ignore_errors=True)
            return
        # All have the new note by now.
        for path in obsolete:
            path.unlink(missing_ok=True)
        if not self._number and rank() == 0:
            # That of an earlier fit, from which --resume would go on.
            Path(self._runner.work_dir,
                 'last_checkpoint').unlink(missing_ok=True)
        self._number += 1

    def _write_member(self, number: int, obsolete: list[Path]) -> dict:
        """Write what is new of one member, and say where it stands."""
        member = self._members[number]
        module, done = _module(member), member.passes_done
        if done != self._passes[number]:
            obsolete += self._files[number]
            self._passes[number], self._told[number] = done, 0
            self._files[number] = []
            if done:
                _save(self._pass_file(number, done), _ended_state(member))
        if module is None:
            return dict(passes_done=done, num_seen=0, files=[])
        current = member.current_pass
        if module.progress_is_whole:
            obsolete += self._files[number]
            self._files[number] = []
            groups = [current.ids]
        else:
            # The last one is without images.
            obsolete += self._files[number][-1:]
            del self._files[number][-1:]
            new = current.ids[self._told[number]:]
            groups = [
                new[start:start + _IMAGES]
                for start in range(0, len(new), _IMAGES)
            ] + [[]]
        for ids in groups:
            path = self._own / (f'state_{number}_{done}_{self._number}_'
                                f'{len(self._files[number])}.pth')
            state = {
                key: value.cpu()
                for key, value in module.progress_state(ids).items()
            }
            _save(path, dict(ids=ids, state=state))
            self._files[number].append(path)
        self._told[number] = len(current.ids)
        return dict(
            passes_done=done,
            num_seen=current.num_seen,
            files=[path.name for path in self._files[number]])

    def _note(self, number: int) -> Path:
        return self._own / f'note_{number}.json'

    def _pass_file(self, number: int, done: int) -> Path:
        return self._own / f'passes_{number}_{done}.pth'

    def resume(self) -> bool:
        """Take up an interrupted fit where the notes end, if there are any.

        The detector has begun a fit. Where it cannot go on, one sentence in
        the log says why, and all is as it was.

        Returns:
            bool: Whether it goes on.
        """
        numbers, reason = self._find_notes()
        # Some may have been killed before they had written the last one.
        last = int(all_gather(torch.tensor(max(numbers, default=-1))).min())
        if last >= 0:
            reason = self._load(last)
            if all_reduce_(torch.tensor(int(reason != ''))):
                last = -1
                current = self._fitting[0].current_pass
                self._detector.begin_fit(current.num_images,
                                         current.batch_size)
                self._begin_anew()
        if last < 0:
            if self.exists:
                self._runner.logger.info(
                    f'The notes of an interrupted fit in "{self.folder}" are '
                    f'not used: {reason or "a process has none"}. The fit '
                    'begins anew.')
            return False
        for number in numbers:
            if number > last:
                self._note(number).unlink()
        self._number = last + 1
        self._due = time.monotonic() + self._interval
        self._say_resumed()
        return True

    @property
    def _fitting(self) -> list[FitDetector]:
        return [member for member in self._members if member.is_fitting]

    @property
    def _modules(self) -> list[FittedModule]:
        """What the pass under way is for."""
        return [
            module for member in self._members
            if (module := _module(member)) is not None
        ]

    def _find_notes(self) -> tuple[list[int], str]:
        """Find the numbers of the notes, or why they are of no use."""
        if not self.exists:
            return [], ''
        own = describe_fit(self._runner)
        try:
            found = _read_json(self._own / 'description.json')
        except ValueError:
            return [], 'they are damaged'
        differing = [
            f'{key} {found.get(key)!r:.40} instead of {own.get(key)!r:.40}'
            for key in sorted(own.keys() | found.keys())
            if own.get(key) != found.get(key)
        ]
        if differing:
            return [], f'they are of another fit ({differing[0]})'
        return [
            int(path.stem.removeprefix('note_'))
            for path in self._own.glob('note_*.json')
        ], ''

    def _load(self, number: int) -> str:
        """Load a note, or say why that is not possible."""
        try:
            for member, entry in enumerate(_read_json(self._note(number))):
                self._load_member(member, entry)
        except (InputError, OSError, ValueError) as error:
            return f'they are damaged ({error})'
        return ''

    def _load_member(self, number: int, entry: dict) -> None:
        member, done = self._members[number], entry['passes_done']
        self._passes[number] = done
        if done:
            state = load_checkpoint(self._pass_file(number, done), 'cpu')
            member.input_size.copy_(state['input_size'])
            for name, ended in _ended_modules(member, done):
                ended.load_state_dict(state[name])
            member.skip_passes(done)
        module = _module(member)
        if module is None:
            return
        all_ids: list[int] = []
        for name in entry['files']:
            self._files[number].append(self._own / name)
            part = load_checkpoint(self._own / name, 'cpu')
            all_ids += part['ids']
            module.load_progress_state(part['state'])
        self._told[number] = len(all_ids)
        member.current_pass.go_on(all_ids, entry['num_seen'])

    def _say_resumed(self) -> None:
        member = self._fitting[0]
        current = member.current_pass
        number = int(all_reduce_(torch.tensor(len(current.ids))))
        parts = [f'{number} of {current.num_images} images']
        if self._detector.num_passes > 1:
            parts[0] += f' of pass {member.passes_done + 1}'
        parts += [module.describe_progress() for module in self._modules]
        self._runner.logger.info(
            f'Resumed the fit: {", ".join(filter(None, parts))}')


def _module(member: FitDetector) -> FittedModule | None:
    """What the present pass of a detector is for; None after the last."""
    if not member.is_fitting:
        return None
    return member.fitted_modules[member.passes_done]


def _ended_modules(member: FitDetector,
                   done: int) -> list[tuple[str, FittedModule]]:
    """What no pass to come changes, after so many."""
    to_come = member.fitted_modules[done:]
    return [
        (name, child) for name, child in member.named_children()
        if isinstance(child, FittedModule) and child is not member.fit_state
        and not any(child is module for module in to_come)
    ]


def _ended_state(member: FitDetector) -> dict:
    modules = _ended_modules(member, member.passes_done)
    return dict({
        name: module.state_dict()
        for name, module in modules
    },
                input_size=member.input_size)


def _save(path: Path, content: dict) -> None:
    with open_atomically(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            raise InputError(f'"{path}" cannot be written.') from error


def _write_json(path: Path, content: dict | list) -> None:
    with open_atomically(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def _read_json(path: Path):
    return json.loads(path.read_text(encoding='utf-8'))
