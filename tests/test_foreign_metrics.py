"""Metrics and hooks of one's own, from outside the repository."""
import json
import math
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ODD = """
import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from mmad.registry import METRICS


@METRICS.register_module()
class OddMetric(BaseMetric):
    per_defect_type = dict(hole=dict(odd=1.5))
    conditions = dict(how='oddly')
    warnings = ['Odd things were found.']

    def process(self, data_batch, data_samples):
        self.results += [sample['gt_label'].item() for sample in data_samples]

    def compute_metrics(self, results):
        return dict(
            odd=torch.tensor(float(np.sum(results))), nan=np.float32('nan'),
            infinite=float('inf'), curve=np.arange(3), name='text',
            thing=object(), none=None, nested={'deep': {0.5: np.int64(7)}})
"""


@pytest.fixture
def own(config, tmp_path, monkeypatch):
    """Write a config with evaluators, and the modules beside it."""
    blocks = re.findall(r'```python\n# mean_score\.py\n(.*?)```',
                        (ROOT / 'docs/evaluator.md').read_text(), re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / 'mean_score.py').write_text(blocks[0])
    (tmp_path / 'odd_metric.py').write_text(ODD)
    # The tools run in a fork, which takes this over.
    monkeypatch.syspath_prepend(tmp_path)

    def write(*metrics):
        path = tmp_path / 'own.py'
        path.write_text(
            f'_base_ = {str(config)!r}\n'
            "custom_imports = dict(imports=['mean_score', 'odd_metric'])\n"
            'val_evaluator = test_evaluator = [{}]\n'.format(', '.join(
                f'dict(type={name!r})'
                for name in metrics)) + 'model = dict(coreset_ratio=0.02)\n')
        return path

    return write


def read(path):
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def test_only_metrics_of_ones_own(own, run_tool, tmp_path):
    result = run_tool(tmp_path, 'train.py', own('MeanScore', 'OddMetric'),
                      '--category', 'bottle', '--work-dir', 'work')
    assert result.status == 0, result.err
    report = read(tmp_path / 'work/metrics.json')
    assert math.isfinite(report.pop('own/mean_score'))
    assert report == {
        'odd': 5.0,
        'nan': 'undefined',
        'infinite': 'infinity',
        'curve': [0, 1, 2],
        'name': 'text',
        'thing': 'not written: object',
        'none': None,
        'nested/deep/0.5': 7,
        'per_defect_type': {
            'hole': {
                'odd': 1.5
            }
        },
        'conditions': {
            'how': 'oddly'
        }
    }
    log, = (tmp_path / 'work').glob('*/*.log')
    lines = [line.split() for line in log.read_text().splitlines()]
    table = lines[lines.index([
        'defect_type', 'own/mean_score', 'odd', 'nan', 'infinite',
        'nested/deep/0.5'
    ]):]
    assert table[1][2:] == ['5.0000', 'undefined', 'infinity', '7']
    assert table[2] == ['hole', '-', '1.5000', '-', '-', '-']
    assert 'Odd things were found.' in log.read_text()


def test_beside_those_of_mmad(own, run_tool, tmp_path):
    path = own('MeanScore', 'PixelMetric', 'ImageMetric')
    result = run_tool(tmp_path, 'train.py', path, '--category', 'bottle',
                      '--work-dir', 'work', '--no-validate')
    assert result.status == 0, result.err
    result = run_tool(tmp_path, 'test.py', path, 'work/epoch_1.pth',
                      '--category', 'bottle', '--work-dir', 'test')
    assert result.status == 0, result.err
    report = read(tmp_path / 'test/metrics.json')
    assert list(report) == [
        'image_auroc', 'image_ap', 'image_f1max', 'image_precision',
        'image_recall', 'image_false_alarm_rate', 'pixel_auroc', 'pixel_ap',
        'pixel_f1max', 'aupro', 'own/mean_score', 'per_defect_type',
        'conditions'
    ]


def test_the_documented_metric_needs_nothing_of_mmad(own, tmp_path):
    own()
    text = (tmp_path / 'mean_score.py').read_text()
    assert 'mmad' not in text
    metric = runpy.run_path(str(tmp_path / 'mean_score.py'))['MeanScore']()
    metric.results = [1.0, 2.0]
    assert metric.evaluate(2) == {'own/mean_score': 1.5}


def test_a_hook_of_ones_own(config, run_tool, tmp_path, monkeypatch):
    code, = re.findall(r'```python\n(# seconds_per_image\.py\n.*?)```',
                       (ROOT / 'docs/hook.md').read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    assert 'mmad' not in code
    changes, = re.findall(r'```python\n# config\n(.*?)```',
                          (ROOT / 'docs/hook.md').read_text(), re.DOTALL)
    (tmp_path / 'seconds_per_image.py').write_text(code)
    path = tmp_path / 'own.py'
    path.write_text(f'_base_ = {str(config)!r}\n{changes}')
    monkeypatch.syspath_prepend(tmp_path)
    options = ('--category', 'bottle', '--work-dir', 'work')
    result = run_tool(tmp_path, 'train.py', path, *options, '--no-validate')
    assert result.status == 0, result.err
    result = run_tool(tmp_path, 'test.py', path, 'work/epoch_1.pth', *options)
    assert result.status == 0, result.err
    report = read(tmp_path / 'work/metrics.json')
    assert report['seconds_per_image'] > 0
    assert 'seconds_per_image' in result.out
