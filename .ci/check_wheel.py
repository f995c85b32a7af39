"""Check an installed mmad: all modules import, its files came along, and its
command fits, tests and names its configs from a folder with nothing in it.

Run it with an environment that has the wheel and what it requires, from
outside a checkout: `python -I check_wheel.py`.
"""
import importlib
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmad
from mmad.registry import MODELS


def run_command(folder: Path) -> None:
    """Run the command `mmad` as a user without a checkout would."""

    def run(*args: str) -> str:
        found = Path(sys.prefix).glob('*/mmad*')  # bin, on Windows Scripts
        result = subprocess.run([next(found), *args],
                                cwd=folder,
                                capture_output=True,
                                text=True,
                                check=False)
        if result.returncode:
            sys.exit(f'error: `mmad {" ".join(args)}` failed:\n'
                     f'{result.stdout}{result.stderr}')
        return result.stdout

    if run('--version') != f'mmad {mmad.__version__}\n':
        sys.exit('error: `mmad --version` has another version.')
    for word in ('train', 'sweep', 'make-demo', 'padim_resnet18_folder'):
        if f'  {word}' not in run():
            sys.exit(f'error: `mmad` does not list {word}.')
    run('make-demo', 'data')
    options = [
        '--data-root', 'data', '--work-dir', 'work', '--cfg-options',
        'train_dataloader.dataset.indices=8',
        'test_dataloader.dataset.indices=8'
    ]
    printed = run('train', 'padim_demo', '--no-validate', *options)
    if 'Next: mmad test ' not in printed:
        sys.exit('error: `mmad train` does not say how to go on.')
    run('test', 'padim_demo', 'work/epoch_1.pth', *options)
    if not (folder / 'work' / 'metrics.json').is_file():
        sys.exit('error: `mmad test` wrote no metrics.')


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
                 '.mim/configs/published_results.yml',
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
    with tempfile.TemporaryDirectory() as folder:
        run_command(Path(folder))
    # Its weights are a file of the package.
    backbone = MODELS.build(dict(type='DemoBackbone'))
    maps = backbone(torch.zeros(1, 3, 64, 64))
    print(f'mmad {mmad.__version__} in {package}: {len(names)} modules, '
          f'{len(configs)} configs, demo backbone with {len(maps)} maps.')


if __name__ == '__main__':
    main()
