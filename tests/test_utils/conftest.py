from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmad.utils.category_run import CategoryRun


@pytest.fixture
def make_run(quick_tools, tmp_path):
    """Make a `CategoryRun` with quick tools and a config of one entry."""
    (tmp_path / 'method.py').touch()

    def make(category='plate', **entries):
        cfg = Config(entries, filename=str(tmp_path / 'method.py'))
        run = CategoryRun(category, cfg, tmp_path / 'work' / category,
                          quick_tools)
        run.folder.mkdir(parents=True, exist_ok=True)
        return run

    return make


@pytest.fixture
def finish():
    """Let a run take all its steps; the returned one is complete."""

    def finish_run(run, resume=False, environment=()):
        dropped = run.prepare(resume)
        for process in run.steps(dict(environment)):
            process.wait()
        return SimpleNamespace(dropped=dropped, result=run.result)

    return finish_run
