"""What a process has set for itself stays while it uses mmad."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
STATE = '''
import locale, logging, multiprocessing, os, random, signal, sys, warnings

import cv2
import numpy as np
import scipy.spatial, scipy.special, torch, torchvision
import mmcv.transforms, mmengine.runner, mmengine.visualization
from mmengine.fileio import io
from mmengine.fileio.backends import registry_utils
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from PIL import Image, ImageFile

# As MMEngine does whenever anything is built from a config.
MMLogger.get_current_instance()


def state():
    """All that is set for the whole process."""
    scope = DefaultScope.get_current_instance()
    return dict(
        schemes=dict(CheckpointLoader._schemes),
        backends=dict(registry_utils.backends),
        prefixes=dict(registry_utils.prefix_to_backends),
        backend_instances=set(io.backend_instances),
        scope=scope and scope.scope_name,
        loggers=list(MMLogger._instance_dict),
        root_logger=(logging.root.level, list(logging.root.handlers)),
        logging=(logging.root.manager.disable, logging.lastResort,
                 logging.getLoggerClass(), logging.raiseExceptions),
        warnings=(list(warnings.filters), warnings.showwarning),
        signals={number: signal.getsignal(number)
                 for number in signal.valid_signals()},
        environ=dict(os.environ),
        folder=os.getcwd(),
        umask=(os.umask(0o22), os.umask(0o22))[1],
        path=list(sys.path),
        hooks=(sys.excepthook, sys.stdout, sys.stderr, sys.displayhook),
        limits=(sys.getrecursionlimit(), Image.MAX_IMAGE_PIXELS,
                ImageFile.LOAD_TRUNCATED_IMAGES),
        locale=locale.setlocale(locale.LC_ALL),
        start_method=multiprocessing.get_start_method(allow_none=True),
        random=(random.getstate(), str(np.random.get_state())),
        numpy=np.geterr(),
        threads=(torch.get_num_threads(), torch.get_num_interop_threads(),
                 cv2.getNumThreads(), cv2.useOptimized(), cv2.ocl.useOpenCL()),
        defaults=(torch.get_default_dtype(), torch.get_default_device(),
                  torch.is_grad_enabled(), torch.hub.get_dir(),
                  torch.get_float32_matmul_precision(),
                  torch.are_deterministic_algorithms_enabled(),
                  torch.backends.cudnn.benchmark,
                  torch.backends.cudnn.deterministic,
                  torch.backends.cuda.matmul.allow_tf32,
                  torch.backends.cudnn.allow_tf32),
        functions=(torch.load, torch.save, torch.nn.Module.__init__,
                   torch.nn.Module.load_state_dict, torch.hub.load,
                   torch.utils.data.DataLoader.__init__,
                   mmengine.runner.Runner.load_checkpoint, cv2.imread),
        safe_globals=set(torch.serialization.get_safe_globals()),
        module_hooks=[
            dict(value) for name, value in
            vars(torch.nn.modules.module).items()
            if name.startswith('_global_') and isinstance(value, dict)],
        groups=torch.distributed.is_initialized())


def changes(before):
    after = state()
    return [name for name in before if before[name] != after[name]]
'''
USES = {
    'import':
    '''
import mmad
import mmad.apis, mmad.datasets, mmad.engine, mmad.evaluation, mmad.models
import mmad.structures, mmad.utils, mmad.visualization
''',
    'init_model':
    '''
from mmad.apis import init_model
init_model(sys.argv[1], device='cpu')
''',
    'inference':
    '''
from mmad.apis import AnomalyInferencer
inferencer = AnomalyInferencer(sys.argv[1], device='cpu')
sample, = inferencer(np.full((32, 40, 3), 90, np.uint8))
assert sample.pred_score > 0
sample.original_map()
''',
    'a refused checkpoint':
    '''
from mmad.apis import init_model
from mmad.errors import InputError
try:
    init_model(__file__ if '__file__' in globals() else sys.executable)
except InputError:
    pass
else:
    raise AssertionError
''',
}
SETTINGS = '''
from mmengine.registry import init_default_scope
init_default_scope('mmengine')
CheckpointLoader.register_scheme(prefixes='own://', loader=print, force=True)
torch.set_num_threads(2)
warnings.simplefilter('error')
signal.signal(signal.SIGTERM, signal.SIG_IGN)
logging.root.setLevel(logging.ERROR)
'''


@pytest.fixture
def checkpoint(make_patchcore, fit, images, tmp_path):
    backbone = dict(type='DemoBackbone', stages=['layer2'], weights='demo')
    detector = fit(
        make_patchcore(backbone=dict(backbone), coreset_ratio=1.0), images)
    config = Config(
        dict(
            model=dict(
                type='PatchCore',
                backbone=backbone,
                num_neighbors=3,
                data_preprocessor=dict(type='ImgDataPreprocessor')),
            test_dataloader=dict(
                dataset=dict(
                    pipeline=[dict(type='LoadImage'),
                              dict(type='PackInputs')]))))
    torch.save(
        dict(
            state_dict=detector.state_dict(),
            meta=dict(cfg=config.pretty_text)), tmp_path / 'a.pth')
    return tmp_path / 'a.pth'


def test_nothing_changes(checkpoint):
    script = [STATE]
    for settings in ('', SETTINGS):
        script += [settings, 'before = state()']
        for name, use in USES.items():
            script += [
                use, f'assert not changes(before), ({name!r}, '
                'changes(before))'
            ]
    # Else all of the above would hold whatever happened.
    script += [
        'from mmad.utils import setup_environment', 'setup_environment()',
        'print(*changes(before))'
    ]
    result = subprocess.run(
        [sys.executable, '-c', '\n'.join(script), checkpoint],
        env=dict(PYTHONPATH=str(ROOT), PATH='', HOME=str(checkpoint.parent)),
        capture_output=True,
        text=True)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) >= {'schemes', 'backends', 'scope'}
