"""Configs in a checkpoint that would run code if they were built."""
import copy

from config_texts import ROOT
from mmengine.config import Config

CONFIGS = [
    'patchcore/patchcore_demo.py',
    'mkd/mkd_demo.py',
    'fyd/fyd_demo.py',
    'uninformed_students/uninformed_students_p33_demo.py',
]


def attacks(run):
    """What must not be built; each of it would make the file ``run``."""
    touch = f'touch {run}'
    code = f'open({str(run)!r}, "w")'
    return [
        dict(type='os.system', command=touch),
        dict(type='posix.system', command=touch),
        dict(type='subprocess.Popen', args=touch, shell=True),
        dict(type='subprocess.check_output', args=touch, shell=True),
        dict(type='builtins.open', file=str(run), mode='w'),
        dict(type='io.open', file=str(run), mode='w'),
        dict(type='pathlib.Path.touch', self=str(run)),
        dict(type='timeit.timeit', stmt=code, number=1),
        dict(type='timeit.Timer', stmt=code),
        dict(type='builtins.eval', source=code),
        dict(type='cProfile.run', statement=code),
        dict(
            type='mmengine.Config.fromstring', cfg_str=code,
            file_format='.py'),
        dict(
            type='mmengine.config.Config.fromstring',
            cfg_str=code,
            file_format='.py'),
        dict(
            type='mmengine.model.ImgDataPreprocessor.os.system',
            command=touch),
        dict(type='mmad.utils.setup_env.os.system', command=touch),
        dict(type='mmad.apis.model.import_module', name='this'),
        dict(type='mmad.models.PatchCore.load_state_dict'),
        dict(type='torch.load', f=str(run), weights_only=False),
        dict(
            type='torch.hub.load',
            repo_or_dir=str(run),
            model='x',
            source='local'),
        dict(type='system', _scope_='os', command=touch),
        dict(type='Popen', _scope_='subprocess', args=touch, shell=True),
        dict(type='PatchCore', _scope_='os'),
        dict(type='LoadImage', _scope_='this'),
        dict(type='this.LoadImage'),
        dict(type='RandomResize', scale=(1, 1), resize_type='os.system'),
        dict(
            type='RandomChoiceResize',
            scales=[(1, 1)],
            resize_type='subprocess.Popen'),
        dict(
            type='LoadImageFromFile',
            backend_args=dict(
                backend='memcached',
                server_list_cfg='',
                client_cfg='',
                sys_path=str(run.parent))),
        dict(
            type='LoadImageFromFile',
            file_client_args=dict(
                backend='memcached', sys_path=str(run.parent))),
        dict(
            type='PatchCore',
            init_cfg=dict(type='Pretrained', checkpoint=str(run))),
        dict(
            type='CenterCrop',
            crop_size=1,
            auto_pad=True,
            pad_cfg=dict(type='os.system', command=touch)),
        dict(
            type='Compose',
            transforms=[[dict(type='os.system', command=touch)]]),
        dict(
            type='KeyMapper',
            transforms=dict(type='LoadImageFromFile'),
            mapping=dict(img_path='keep_ratio')),
        dict(type=['os.system'], command=touch),
        dict(type=None),
        dict(type=''),
        dict(type='.'),
    ]


def places(node, path=()):
    """All paths to dicts, lists and values in a tree."""
    yield path
    items = (
        node.items() if isinstance(node, dict) else
        enumerate(node) if isinstance(node, list | tuple) else ())
    for key, value in items:
        yield from places(value, (*path, key))


def put(tree, path, value):
    """The tree with another value in one place."""
    if not path:
        return copy.deepcopy(value)
    if isinstance(tree, dict):
        return {
            key: put(old, path[1:], value) if key == path[0] else old
            for key, old in tree.items()
        }
    return type(tree)(put(old, path[1:], value) if number == path[0] else old
                      for number, old in enumerate(tree))


def stored(name):
    cfg = Config.fromfile(ROOT / 'configs' / name).to_dict()
    return {key: cfg[key] for key in ('model', 'test_dataloader')}


def text_of(tree):
    return '\n'.join(f'{key} = {value!r}' for key, value in tree.items())


def attempts(name, run):
    tree = stored(name)
    pipeline = ('test_dataloader', 'dataset', 'pipeline')
    for top in (('model', ), pipeline):
        part = tree
        for key in top:
            part = part[key]
        # In place of the whole pipeline it is no pipeline.
        for path in places(part) if top == (
                'model', ) else [path for path in places(part) if path]:
            for attack in attacks(run):
                yield put(tree, (*top, *path), attack)
                yield put(tree, (*top, *path), [attack])
