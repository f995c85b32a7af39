import gc
import os
import runpy
import shutil
import sys
import traceback
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import mmengine.config.config
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from mmad.models import FrozenBackbone, PatchCore
from mmad.models.layers import k_center_greedy
from mmad.registry import MODELS, VISUALIZERS
from mmad.structures import AnomalyDataSample
from mmad.utils import setup_environment

# The tools run in forks of this process, which a used GPU and threads do not
# outlive.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 48, 56


@MODELS.register_module(force=True)
class TinyBackbone(FrozenBackbone):
    """Two convolutions with fixed random weights."""

    def __init__(self, stages=('layer2', 'layer3'), seed=0, weights=None):
        super().__init__(stages)
        generator = torch.Generator().manual_seed(seed)
        self.body = nn.ModuleDict(
            dict(
                layer2=nn.Conv2d(3, 6, 5, stride=4, padding=2),
                layer3=nn.Conv2d(6, 10, 3, stride=2, padding=1)))
        for parameter in self.body.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        self.freeze()

    def forward(self, inputs):
        maps = {}
        for name, part in self.body.items():
            inputs = maps[name] = part(inputs).relu()
        return tuple(maps[stage] for stage in self.stages)


def pytest_collection_finish():
    # Every data set collects garbage, over all that is imported here.
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(autouse=True)
def default_scope():
    # A test before may have left another one behind.
    if DefaultScope.get_current_instance() is None:
        init_default_scope('mmad')


def _image(rng, defect=None):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = 110 + 40 * np.sin(rows / 3) + 30 * np.cos(columns / 4)
    image = waves[..., None] + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if defect is not None:
        # Inside the central crop of the tools' tests.
        top, left = rng.integers(14, 24, 2)
        size = (4, 14) if defect == 'scratch' else (9, 9)
        mask[top:top + size[0], left:left + size[1]] = True
        image[mask] = 250 if defect == 'scratch' else 5
    return np.clip(image, 0, 255).astype(np.uint8), mask


def write_data(folder, num_train=7, seed=0):
    """A category in MVTec layout: 2 defect types, 8 test images."""
    rng = np.random.default_rng(seed)
    splits = [('train/good', None, num_train), ('test/good', None, 3),
              ('test/hole', 'hole', 2), ('test/scratch', 'scratch', 3)]
    for name, defect, number in splits:
        (folder / name).mkdir(parents=True)
        if defect is not None:
            (folder / 'ground_truth' / defect).mkdir(parents=True)
        for i in range(number):
            image, mask = _image(rng, defect)
            Image.fromarray(image).save(folder / name / f'{i:03}.png')
            if defect is not None:
                Image.fromarray(mask.astype(np.uint8) * 255).save(
                    folder / 'ground_truth' / defect / f'{i:03}_mask.png')


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
def fit():
    """Fit a detector on images ``(N, 3, H, W)`` as the runner would."""

    def fit_on(detector, images, batch_size=2):
        return fit_shard(detector, images, batch_size)

    return fit_on


def feed(detector, images, batch_size, order=None):
    """One pass over the images, in another order if given."""
    order = list(range(len(images))) if order is None else list(order)
    for start in range(0, len(order), batch_size):
        batch = order[start:start + batch_size]
        samples = [
            AnomalyDataSample(
                metainfo=dict(sample_idx=i, img_path=f'image_{i}.png'))
            for i in batch
        ]
        detector.fit_step(dict(inputs=images[batch], data_samples=samples))


def fit_shard(detector, images, batch_size=2):
    """Fit with the images that the sampler deals to this process."""
    detector.begin_fit(len(images), batch_size)
    for _ in range(detector.num_passes):
        feed(detector, images, batch_size,
             DefaultSampler(images, shuffle=False))
        detector.end_pass()
    return detector.eval()


@pytest.fixture
def run_processes(tmp_path):
    """Call `function(rank, *args)` in gloo processes; what each returned."""

    def run(world, function, *args):
        # Forked, which takes no time: what is compiled is compiled already.
        mp.start_processes(
            _in_group, (world, tmp_path, function, args),
            world,
            start_method='fork')
        return [
            torch.load(tmp_path / f'{rank}.pt', weights_only=True)
            for rank in range(world)
        ]

    return run


def _in_group(rank, world, folder, function, args):
    dist.init_process_group(
        'gloo',
        init_method=f'file://{folder / "rendezvous"}',
        rank=rank,
        world_size=world)
    torch.save(function(rank, *args), folder / f'{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()


CONFIG = """
_base_ = '{root}/configs/patchcore/patchcore_resnet18_10pct_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(60, 52), backend='pillow'),
    dict(type='CenterCrop', crop_size=48),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset', data_root='{data}', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader

model = dict(backbone=dict(weights=None), num_neighbors=3, sigma=2.0)
"""


@pytest.fixture(scope='session')
def config(mvtec_root, tmp_path_factory):
    """Config file of a ResNet-18 with random weights at 48 pixels."""
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(CONFIG.format(root=ROOT, data=mvtec_root))
    return path


OTHER_PACKAGE = {
    '__init__.py':
    '',
    'registry.py':
    """
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry(
    'model', parent=MMENGINE_MODELS, scope='otherpkg',
    locations=['otherpkg.backbones'])
""",
    'backbones.py':
    """
from mmengine.model import BaseModule
from torch import nn

from .registry import MODELS


@MODELS.register_module()
class Swish(nn.SiLU):
    pass


@MODELS.register_module()
class Mish(nn.Mish):
    pass


@MODELS.register_module()
class ResNet(BaseModule):
    def __init__(self, widths=(4, 6, 8), out_indices=(2, ), norm_eval=False,
                 frozen_stages=-1, act=dict(type='Swish'),
                 init_cfg=dict(type='Kaiming', layer='Conv2d')):
        super().__init__(init_cfg)
        self.out_indices = out_indices
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        self.layers = nn.ModuleList()
        for before, width in zip((3, *widths), widths):
            self.layers.append(nn.Sequential(
                nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width),
                MODELS.build(act)))

    def forward(self, inputs):
        maps = []
        for layer in self.layers:
            inputs = layer(inputs)
            maps.append(inputs)
        return tuple(maps[index] for index in self.out_indices)

    def train(self, mode=True):
        super().train(mode)
        for layer in self.layers[:self.frozen_stages + 1]:
            layer.eval()
        for module in self.modules():
            if self.norm_eval and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


@MODELS.register_module()
class Derived(ResNet):
    def __init__(self, **kwargs):
        super().__init__(widths=(4, 8), **kwargs)


@MODELS.register_module()
class Heedless(Derived):
    def __init__(self, init_cfg=None, **kwargs):
        super().__init__(**kwargs)


@MODELS.register_module()
class Plain(nn.Module):
    def __init__(self, pretrained=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)

    def forward(self, inputs):
        return dict(only=self.conv(inputs))


@MODELS.register_module()
class NoModule:
    pass
""",
}


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


MKD = """
_base_ = '{root}/configs/mkd/mkd_resnet18_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset', data_root='{data}', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader

model = dict(backbone=dict(weights=None), sigma=2.0)
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""


@pytest.fixture(scope='session')
def mkd_config(mvtec_root, tmp_path_factory):
    """Config file of MKD with random weights at 48 x 56 pixels."""
    path = tmp_path_factory.mktemp('config') / 'tiny_mkd.py'
    path.write_text(MKD.format(root=ROOT, data=mvtec_root))
    return path


FYD = """
_base_ = '{root}/configs/fyd/fyd_demo.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset',
        data_root='{data}',
        category='bottle',
        pipeline=pipeline))
train_dataloader = loader
# One by one, so that no image is rounded by how many there are.
val_dataloader = test_dataloader = dict(loader, batch_size=1)

model = dict(ica=dict(grid=2), fca=dict(grid=2), dim=8, sigma=2.0)
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = dict(T_max=4)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""


@pytest.fixture(scope='session')
def fyd_config(mvtec_root, tmp_path_factory):
    """Config file of FYD on the demo's backbone at 48 x 56 pixels."""
    path = tmp_path_factory.mktemp('config') / 'tiny_fyd.py'
    path.write_text(FYD.format(root=ROOT, data=mvtec_root))
    return path


NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.02, out_channels=4)
NORMALISATION = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


def write_teacher(path, patch_size=17, **kwargs):
    """The checkpoint of a teacher with random weights."""
    torch.manual_seed(patch_size)
    teacher = MODELS.build(
        dict(
            dict(
                type='PatchTeacher',
                network=dict(NETWORK, patch_size=patch_size),
                knowledge_weight=0,
                data_preprocessor=NORMALISATION), **kwargs))
    # Not as small as they begin.
    with torch.no_grad():
        for parameter in teacher.network.parameters():
            parameter.mul_(3)
    teacher.fit_state.finalize()
    torch.save(dict(state_dict=teacher.state_dict()), path)
    return path


@pytest.fixture(scope='session')
def teacher_files(tmp_path_factory):
    """Checkpoints of teachers with random weights, by patch size."""
    folder = tmp_path_factory.mktemp('teachers')
    return {
        size: write_teacher(folder / f'p{size}.pth', size)
        for size in (17, 33)
    }


STUDENTS = """
_base_ = '{root}/configs/uninformed_students/uninformed_students_mvtec.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='AnomalyDataset', data_root='{data}', pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader
custom_hooks = [
    dict(type='TeacherStatisticsHook'),
    dict(type='CalibrationHook', share=0.3),
]

network = dict(type='PatchNetwork', width=0.02, out_channels=4)
model = dict(num_students=2, scales=[
    dict(network=dict(network, patch_size=17), teacher='{teachers[17]}'),
    dict(network=dict(network, patch_size=33), teacher='{teachers[33]}'),
])
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""


@pytest.fixture(scope='session')
def students_config(mvtec_root, teacher_files, tmp_path_factory):
    """Config file of two scales, whose five images are two steps or three."""
    path = tmp_path_factory.mktemp('config') / 'tiny_students.py'
    path.write_text(
        STUDENTS.format(root=ROOT, data=mvtec_root, teachers=teacher_files))
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
def start_tool(config):
    """Start a script of `tools/` in a fork, which saves the imports."""
    # Compiled, imported and cached once for all.
    k_center_greedy(torch.rand(50, 4), 20)
    VISUALIZERS.build(dict(type='AnomalyVisualizer', name='warm'))
    assert Config.fromfile(config).pretty_text

    def start(folder, name, *args, **env):
        folder.mkdir(parents=True, exist_ok=True)
        process = mp.get_context('fork').Process(
            target=_tool, args=(folder, name, [str(a) for a in args], env))
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


def _tool(folder, name, args, env):
    os.chdir(folder)
    os.environ.update(env)
    rank = env.get('RANK', '')
    # As Python opens them: names of files may be no text.
    with open(
            'stdout' + rank, 'w',
            errors='surrogateescape') as sys.stdout, open(
                'stderr' + rank, 'w', errors='backslashreplace') as sys.stderr:
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)
        sys.argv = [name, *args]
        _run_script(name)


def _run_script(name):
    try:
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    except Exception:
        traceback.print_exc()
        sys.exit(1)


# Stands in for train.py and test.py, and starts in no time. What a test left
# in `train.spoil` or `test.spoil` is run in between.
QUICK_TOOL = r'''
import json, os, sys, time
from pathlib import Path

tool = Path(sys.argv[0]).stem
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
options = [arg for arg in sys.argv[2:] if arg.startswith('--')]
with open(folder / 'calls', 'a') as calls:
    json.dump(dict(tool=tool, options=options[:-1], pid=os.getpid(),
                   begin=time.time(), env=dict(os.environ)), calls)
    calls.write('\n')
print('Some words')
spoil = folder / (tool + '.spoil')
if spoil.exists():
    exec(spoil.read_text())
if tool == 'train':
    (folder / 'epoch_1.pth').touch()
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
else:
    assert sys.argv[2].endswith('epoch_1.pth')
    (folder / 'metrics.json').write_text(json.dumps(dict(
        image_auroc=0.75, aupro='undefined', per_defect_type={},
        conditions=dict(images=8))))
'''


@pytest.fixture
def quick_tools(tmp_path):
    """Folder with stand-ins for `train.py` and `test.py`."""
    folder = tmp_path / 'tools'
    folder.mkdir()
    for name in ('train.py', 'test.py'):
        (folder / name).write_text(QUICK_TOOL)
    return folder


SMALLEST = dict(
    config={'model.backbone': dict(_delete_=True, type='TinyBackbone')},
    mkd_config={
        'model.backbone':
        dict(_delete_=True, type='TinyBackbone'),
        'model.cloner':
        dict(
            _delete_=True,
            type='Cloner',
            widths=((6, 6), (6, 6), (6, 10)),
            points=(1, 2)),
        'model.test_points':
        None,
        'train_cfg.max_epochs':
        2,
        'train_cfg.val_interval':
        1,
        'default_hooks.checkpoint.interval':
        1
    })


@pytest.fixture
def quick_config(monkeypatch):
    # Formatting the config takes most of the time of a small run.
    monkeypatch.setattr(mmengine.config.config, 'FormatCode',
                        lambda text, **kwargs: (text, True))


@pytest.fixture
def load_cfg(request, quick_config, tmp_path):
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
