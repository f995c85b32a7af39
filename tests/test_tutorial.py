"""The commands of docs/tutorial.md run as they stand there."""
import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmad.apis import init_model

ROOT = Path(__file__).resolve().parents[1]


def commands():
    text = (ROOT / 'docs/tutorial.md').read_text()
    blocks = re.findall(r'^```shell\n(.*?)^```', text,
                        re.MULTILINE | re.DOTALL)
    return [
        shlex.split(line)
        for line in ''.join(blocks).replace('\\\n', '').splitlines()
    ]


def test_each_command_starts_a_tool_that_exists():
    assert len(commands()) == 9
    for python, tool, *_ in commands():
        assert python == 'python'
        assert (ROOT / tool).is_file()


@pytest.mark.slow
def test_tutorial(tmp_path):
    pytest.importorskip(
        'onnxruntime', reason='the tutorial exports: pip install mmad[export]')
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    for _, *arguments in commands():
        done = subprocess.run([sys.executable, *arguments],
                              cwd=tmp_path,
                              env=dict(os.environ, PYTHONPATH=str(ROOT)),
                              capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    rows = [
        list(
            csv.DictReader((tmp_path / name /
                            'predictions.csv').read_text().splitlines()))
        for name in ('verdicts', 'verdicts_20')
    ]
    found = [sum(row['label'] == 'defective' for row in part) for part in rows]
    assert len(rows[0]) == len(rows[1]) == 80
    assert 0 < found[0] < found[1]
    work_dir = tmp_path / 'work_dirs/tutorial'
    assert 'type="range"' in (work_dir / 'report.html').read_text()
    numbers = [
        init_model(str(work_dir / f'{name}.pth')).memory_bank.num_fitted
        for name in ('epoch_1', 'more', 'clean')
    ]
    assert numbers == [80, 100, 99]
