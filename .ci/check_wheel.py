"""Check an installed mmad: all modules import, and its files came along.

Run it with an environment that has the wheel and what it requires, from
outside a checkout: `python -I check_wheel.py`.
"""
import importlib
import pkgutil
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmad
from mmad.registry import MODELS


def main() -> None:
    package = Path(mmad.__file__).parent
    if not package.is_relative_to(sys.prefix):
        sys.exit(f'error: {package} is not installed, but on the path.')
    names = [
        module.name
        for module in pkgutil.walk_packages(mmad.__path__, 'mmad.')
    ]
    for name in names:
        importlib.import_module(name)
    for name in ('py.typed', '.mim/model-index.yml', '.mim/tools/train.py',
                 'visualization/report/page.html',
                 'visualization/report/page.css',
                 'visualization/report/page.js'):
        if not (package / name).is_file():
            sys.exit(f'error: the wheel lacks {name}.')
    init_default_scope('mmad')
    configs = sorted((package / '.mim' / 'configs').glob('*/*_demo.py'))
    if not configs:
        sys.exit('error: the wheel lacks the configs.')
    for config in configs:
        Config.fromfile(config)
    # Its weights are a file of the package.
    backbone = MODELS.build(dict(type='DemoBackbone'))
    maps = backbone(torch.zeros(1, 3, 64, 64))
    print(f'mmad {mmad.__version__} in {package}: {len(names)} modules, '
          f'{len(configs)} configs, demo backbone with {len(maps)} maps.')


if __name__ == '__main__':
    main()
