import gc
import os
import shutil
import sys
import uuid
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import mmengine.dataset.base_dataset
import pytest
import torch
import torch.multiprocessing as mp
from config_texts import (
    FYD_CONFIG,
    MKD_CONFIG,
    PATCHCORE_CONFIG,
    ROOT,
    SMALLEST,
    STUDENTS_CONFIG,
    leave_configs_unformatted,
)
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from other_package import OTHER_PACKAGE
from process_group import run_in_group
from run_tools import CATEGORY, QUICK_TOOL, run_in_folder
from small_data import write_data
from tiny_models import fit_shard, write_teacher

from mmad.engine import ProgressHook
from mmad.models import FYD, PatchCore
from mmad.models.layers import k_center_greedy
from mmad.registry import VISUALIZERS
from mmad.utils import setup_environment

# The tools run in forks of this process, which a used GPU and threads do not
# outlive.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
torch.set_num_threads(1)
# The first backward pass starts a thread for each device, and no fork of a
# process with such threads can run one. There are none yet, but `torch.export`
# pretends for good that there are eight.
torch.ones((), requires_grad=True).backward()
leave_configs_unformatted()
# Every data set collects garbage, over all that is imported and cached here,
# which takes longer than most tests.
mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=int)


def pytest_collection_finish():
    # What is imported is no garbage.
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(autouse=True)
def default_scope():
    # A test before may have left another one behind.
    if DefaultScope.get_current_instance() is None:
        init_default_scope('mmad')


@pytest.fixture(autouse=True)
def closed_bar():
    yield
    # Of a run that was to fail. All bars share one terminal.
    ProgressHook.close()


@pytest.fixture(scope='session')
def mvtec_root(tmp_path_factory):
    """Data set with the category `bottle`; not to be written to."""
    root = tmp_path_factory.mktemp('mvtec')
    write_data(root / 'bottle')
    return root


@pytest.fixture
def own_root(mvtec_root, tmp_path):
    """A copy of `mvtec_root` that a test may spoil."""
    return Path(shutil.copytree(mvtec_root, tmp_path / 'data'))


@pytest.fixture
def images():
    """Seven images ``(7, 3, 32, 40)`` with a grid of 8 x 10 patches."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(7, 3, 32, 40, generator=generator)


@pytest.fixture
def make_patchcore():
    """PatchCore on the tiny backbone, with what differs from the test's
    usual setting."""

    def make(**kwargs):
        backbone = kwargs.pop('backbone', dict(type='TinyBackbone'))
        kwargs.setdefault('num_neighbors', 3)
        return PatchCore(backbone, **kwargs)

    return make


@pytest.fixture
def make_fyd():
    """FYD on two small stages, always with the same initial weights."""

    def make(**kwargs):
        torch.manual_seed(0)
        kwargs.setdefault('backbone', dict(type='SteppedBackbone'))
        kwargs.setdefault('dim', 6)
        return FYD(**kwargs)

    return make


@pytest.fixture
def fit():
    """Fit a detector on images ``(N, 3, H, W)`` as the runner would."""

    def fit_on(detector, images, batch_size=2):
        return fit_shard(detector, images, batch_size)

    return fit_on


@pytest.fixture
def run_processes(tmp_path):
    """Call `function(rank, *args)` in gloo processes; what each returned."""

    def run(world, function, *args):
        # Of another call, a file may not be gone yet.
        meeting = tmp_path / f'meeting-{uuid.uuid4().hex}'
        # Forked, which takes no time: what is compiled is compiled already.
        mp.start_processes(
            run_in_group, (world, tmp_path, meeting, function, args),
            world,
            start_method='fork')
        return [
            torch.load(tmp_path / f'{rank}.pt', weights_only=True)
            for rank in range(world)
        ]

    return run


@pytest.fixture(scope='session')
def config(mvtec_root, tmp_path_factory):
    """Config file of a ResNet-18 with random weights at 48 pixels."""
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(PATCHCORE_CONFIG.format(root=ROOT, data=mvtec_root))
    return path


@pytest.fixture(scope='session')
def otherpkg(tmp_path_factory):
    """A package of the family with backbones in a registry of its own."""
    folder = tmp_path_factory.mktemp('site') / 'otherpkg'
    folder.mkdir()
    for name, text in OTHER_PACKAGE.items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder.parent))
    # The tools run in forks, which find it likewise.
    yield import_module('otherpkg.backbones')
    sys.path.remove(str(folder.parent))


@pytest.fixture(scope='session')
def mkd_config(mvtec_root, tmp_path_factory):
    """Config file of MKD with random weights at 48 x 56 pixels."""
    path = tmp_path_factory.mktemp('config') / 'tiny_mkd.py'
    path.write_text(MKD_CONFIG.format(root=ROOT, data=mvtec_root))
    return path


@pytest.fixture(scope='session')
def fyd_config(mvtec_root, tmp_path_factory):
    """Config file of FYD on the demo's backbone at 48 x 56 pixels."""
    path = tmp_path_factory.mktemp('config') / 'tiny_fyd.py'
    path.write_text(FYD_CONFIG.format(root=ROOT, data=mvtec_root))
    return path


@pytest.fixture(scope='session')
def teacher_files(tmp_path_factory):
    """Checkpoints of teachers with random weights, by patch size."""
    folder = tmp_path_factory.mktemp('teachers')
    return {
        size: write_teacher(folder / f'p{size}.pth', size)
        for size in (17, 33)
    }


@pytest.fixture(scope='session')
def students_config(mvtec_root, teacher_files, tmp_path_factory):
    """Config file of two scales, whose five images are two steps or three."""
    path = tmp_path_factory.mktemp('config') / 'tiny_students.py'
    path.write_text(
        STUDENTS_CONFIG.format(
            root=ROOT, data=mvtec_root, teachers=teacher_files))
    return path


@pytest.fixture(scope='session')
def fitted(config, tmp_path_factory):
    """A finished run of the tiny backbone: its runner, in this process."""
    cfg = Config.fromfile(config)
    cfg.model.backbone = dict(type='TinyBackbone')
    cfg.work_dir = str(tmp_path_factory.mktemp('fitted'))
    setup_environment()
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.fixture(scope='session')
def start_tool(fitted):
    """Start a script of `tools/` in a fork, which saves the imports."""
    # Compiled, imported and cached once for all, as far as `fitted` has not.
    k_center_greedy(torch.rand(50, 4), 20)
    VISUALIZERS.build(dict(type='AnomalyVisualizer', name='warm'))

    def start(folder, name, *args, **env):
        folder.mkdir(parents=True, exist_ok=True)
        process = mp.get_context('fork').Process(
            target=run_in_folder,
            args=(folder, name, [str(a) for a in args], env))
        process.start()
        return process

    return start


@pytest.fixture(scope='session')
def run_tool(start_tool):
    """Run a script of `tools/` in `folder`: its status and output."""

    def run(folder, name, *args):
        process = start_tool(folder, name, *args)
        process.join()
        return SimpleNamespace(
            status=process.exitcode,
            out=(folder / 'stdout').read_text(),
            err=(folder / 'stderr').read_text())

    return run


@pytest.fixture(scope='session')
def trained(run_tool, config, tmp_path_factory):
    """Folder of a finished run of `tools/train.py`, work dir `work`."""
    folder = tmp_path_factory.mktemp('trained')
    result = run_tool(folder, 'train.py', config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder


@pytest.fixture
def quick_tools(tmp_path):
    """Folder with stand-ins for `train.py` and `test.py`."""
    folder = tmp_path / 'tools'
    folder.mkdir()
    for name in ('train.py', 'test.py'):
        (folder / name).write_text(QUICK_TOOL)
    return folder


@pytest.fixture
def quick_sweep(quick_tools, monkeypatch):
    """The sweep beside stand-ins for the tools that it starts."""
    # Its modules are to be imported from there, too.
    for name in [name for name in sys.modules if name.startswith('sweep_')]:
        monkeypatch.delitem(sys.modules, name)
    for path in ROOT.glob('tools/sweep*.py'):
        shutil.copy(path, quick_tools)
    return quick_tools / 'sweep.py'


@pytest.fixture
def load_cfg(request, tmp_path):
    """Load the config of a fixture, with the smallest model it can have, and
    with `more_hooks` behind its own."""

    def load(name, folder=tmp_path, more_hooks=(), **changes):
        cfg = Config.fromfile(request.getfixturevalue(name))
        if more_hooks:
            cfg.custom_hooks = [*cfg.custom_hooks, *more_hooks]
        for part in (dict(log_level='WARNING'), SMALLEST.get(name,
                                                             {}), changes):
            # Merging takes `_delete_` out of what it is given.
            cfg.merge_from_dict(deepcopy(part))
        cfg.merge_from_dict(
            dict(work_dir=str(folder), experiment_name=folder.name))
        for loader in ('train', 'val', 'test'):
            if cfg.get(f'{loader}_dataloader') is not None:
                dataset = cfg[f'{loader}_dataloader'].dataset
                if dataset.type == 'AnomalyDataset':
                    dataset.category = 'bottle'
        return cfg

    return load


@pytest.fixture
def make_runner(load_cfg):
    """A plain runner, as a script of the user's would make it."""

    def make(name, **changes):
        setup_environment()
        return Runner.from_cfg(load_cfg(name, **changes))

    return make
