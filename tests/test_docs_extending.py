"""The examples of docs/extending.md run together."""
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    """The modules of the page, and images that its data set reads."""
    text = (ROOT / 'docs/extending.md').read_text()
    for name in ('my_parts.py', 'my_config.py'):
        blocks = re.findall(rf'^```python\n# {re.escape(name)}\n(.*?)^```',
                            text, re.MULTILINE | re.DOTALL)
        assert blocks
        (tmp_path / name).write_text('\n'.join(blocks))
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'parts').mkdir()
    generator = np.random.default_rng(0)
    for prefix, number in (('train', 6), ('good', 2), ('dent', 2)):
        for i in range(number):
            pixels = generator.integers(90, 110, (64, 64, 3), np.uint8)
            if prefix == 'dent':
                pixels[20:40, 20:40] = 255
            Image.fromarray(pixels).save(tmp_path / f'parts/{prefix}-{i}.png')
    return tmp_path


@pytest.mark.slow
def test_the_examples_run(folder):
    text = (ROOT / 'docs/extending.md').read_text()
    block, = re.findall(r'^```shell\n(.*?)^```', text,
                        re.MULTILINE | re.DOTALL)
    path = os.pathsep.join([str(folder), str(ROOT)])
    for line in block.splitlines():
        arguments = line.removeprefix('PYTHONPATH=. ').split()[1:]
        done = subprocess.run([sys.executable, *arguments],
                              cwd=folder,
                              env=dict(os.environ, PYTHONPATH=path),
                              capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        if 'train.py' in line:
            # A tenth of 6 images with 28 x 28 patches.
            assert 'The bank has' in done.stdout
    metrics = json.loads(
        (folder / 'work_dirs/my_config/metrics.json').read_text())
    assert metrics['image_auroc'] == 1
    assert 0.5 <= metrics['own/share_of_defective'] <= 1
    with open(folder / 'verdicts/predictions.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['label'] for row in rows
            if 'dent' in row['path']] == ['defective'] * 2
