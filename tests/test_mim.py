"""`mim train mmad CONFIG` from an installed wheel, in an environment apart."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_mim_trains_from_an_installed_wheel(tmp_path):
    environment = {
        key: value
        for key, value in os.environ.items() if key != 'PYTHONPATH'
    }

    def run(*command):
        return subprocess.run([str(part) for part in command],
                              cwd=tmp_path,
                              env=environment,
                              check=True,
                              stdout=subprocess.PIPE,
                              text=True).stdout

    run(sys.executable, '-m', 'venv', tmp_path / 'env')
    python = tmp_path / 'env' / 'bin' / 'python'
    environment['PATH'] = f'{python.parent}:{environment["PATH"]}'
    run(python, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp_path, ROOT)
    wheel, = tmp_path.glob('mmad-*.whl')
    run(python, '-m', 'pip', 'install', '-q', f'{wheel}[lite,mim]')
    run(python, '-m', 'pip', 'check')
    run(
        python, '-c', 'from mmad.datasets.demo import generate_demo; '
        'generate_demo("data/demo")')
    run(python.parent / 'mim', 'train', 'mmad', 'patchcore_demo.py', '--gpus',
        0, '--work-dir', 'work')
    metrics = json.loads((tmp_path / 'work' / 'metrics.json').read_text())
    assert metrics['image_auroc'] > 0.9
    assert 'patchcore' in run(python.parent / 'mim', 'search', 'mmad',
                              '--model', 'patchcore')
