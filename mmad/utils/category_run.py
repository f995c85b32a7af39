import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from mmengine.config import Config

from .atomic_files import write_atomically

_RECORD = 'sweep_record.json'


class CategoryError(Exception):
    """The fit or the test of a category ended badly; what it said last."""


class CategoryRun:
    """Fit and test of one category, each in a process of its own.

    Its folder becomes the work directory of both. Besides what they write it
    holds ``sweep.log`` with their output, ``sweep_config/`` with the config
    they were given, and ``sweep_record.json``, which grows with every step
    that succeeds: the digest of the config, the seconds of the fit, at the
    end the result.

    Args:
        category (str): Name of the category.
        cfg (Config): Config of the category, command line merged in.
        folder (Path): Folder of the category.
        tools (Path): Folder of ``train.py`` and ``test.py``.
    """

    def __init__(self, category: str, cfg: Config, folder: Path,
                 tools: Path) -> None:
        self.category = category
        self.folder = folder
        self.log = folder / 'sweep.log'
        self._tools = tools
        self._text = cfg.pretty_text
        # A folder of its own: the runner writes a file of this name, too.
        self._config = folder / 'sweep_config' / Path(cfg.filename).name
        self._record: dict = {}

    @property
    def result(self) -> dict | None:
        """What :class:`~mmad.utils.sweep_table.SweepTable` takes, or None as
        long as the category is not finished."""
        return self._record.get('result')

    def prepare(self, resume: bool) -> bool:
        """Take up what an earlier sweep left, or clear it away.

        Args:
            resume (bool): Take it up if it was made with the same config;
                else it stays until this run starts.

        Returns:
            bool: Whether it could not be taken up for another config.
        """
        if not resume:
            self._clear()
            return False
        path = self.folder / _RECORD
        found = json.loads(path.read_text()) if path.is_file() else {}
        if found.get('config') == self._digest:
            self._record = found
            return False
        return bool(found)

    def steps(self, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
        """Fit and test.

        Args:
            environment (dict[str, str]): Variables to set for the processes.

        Yields:
            subprocess.Popen: One process after the other; each must have
            ended before the next is asked for.

        Raises:
            CategoryError: A process failed.
        """
        if not self._record:
            self._clear()
        write_atomically(self._config, self._text.encode())
        if 'fit_seconds' not in self._record or self._checkpoint() is None:
            yield from self._fit(environment)
        yield from self._test(environment)

    def _fit(self, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
        resumed = self._checkpoint() is not None
        self._record = {}
        self._save(config=self._digest)
        seconds = yield from self._run(
            environment, 'train.py', self._config, '--no-validate',
            *(['--resume'] if resumed else []))
        if self._checkpoint() is None:
            raise CategoryError('the fit wrote no checkpoint; the config '
                                 'needs `default_hooks.checkpoint`.')
        # How long the part before took, nobody knows.
        self._save(fit_seconds=None if resumed else seconds)

    def _test(self, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
        path = self.folder / 'metrics.json'
        path.unlink(missing_ok=True)
        seconds = yield from self._run(
            environment, 'test.py', self._config, self._checkpoint())
        if not path.is_file():
            raise CategoryError('the test wrote no metrics.json; the config '
                                 'needs `default_hooks.report`.')
        metrics = json.loads(path.read_text())
        metrics.pop('per_defect_type', None)
        conditions = metrics.pop('conditions', {})
        self._save(
            result=dict(
                metrics=metrics,
                conditions=conditions,
                fit_seconds=self._record['fit_seconds'],
                test_seconds=seconds))

    def _run(self, environment: dict[str, str], tool: str,
             *args: object) -> Generator[subprocess.Popen, None, float]:
        command = [
            sys.executable,
            str(self._tools / tool), *map(str, args), '--work-dir',
            str(self.folder)
        ]
        with self.log.open('a') as log:
            log.write(f'$ {shlex.join(command)}\n')
            log.flush()
            begin = time.monotonic()
            # Unbuffered: the log can be followed, and errors come last.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'PYTHONUNBUFFERED': '1', **environment})
        yield process
        if process.returncode != 0:
            raise CategoryError(self._last_words(process.returncode))
        return round(time.monotonic() - begin, 2)

    def _clear(self) -> None:
        # Checkpoints stay, but no fit goes on from one of them.
        for name in (_RECORD, 'metrics.json', 'last_checkpoint', 'sweep.log'):
            (self.folder / name).unlink(missing_ok=True)

    def _last_words(self, status: int) -> str:
        if status < 0:
            name = signal.Signals(-status).name
            reason = ', often for want of memory' if name == 'SIGKILL' else ''
            return f'ended by {name}{reason}.'
        lines = self.log.read_text(errors='replace').splitlines()
        last = [line for line in lines if line.strip()][-1]
        return last.strip().removeprefix('error: ')

    def _checkpoint(self) -> str | None:
        pointer = self.folder / 'last_checkpoint'
        path = pointer.read_text() if pointer.is_file() else ''
        return path if Path(path).is_file() else None

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self._text.encode()).hexdigest()

    def _save(self, **entries: object) -> None:
        self._record.update(entries)
        text = json.dumps(self._record, indent=2) + '\n'
        write_atomically(self.folder / _RECORD, text.encode())
