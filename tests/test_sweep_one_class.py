"""`tools/sweep.py` over the classes of a set, by the mean of checkpoints."""
import json

import pytest
from config_texts import ROOT

CONFIG = """
_base_ = '{root}/configs/mkd/mkd_vgg16_published_one_class.py'

loader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(name='digits'))
train_dataloader = loader
val_dataloader = test_dataloader = dict(
    loader, dataset=dict(name='digits', indices=100))

model = dict(
    backbone=dict(
        _delete_=True,
        type='DemoBackbone',
        stages=['layer1', 'layer2'],
        weights='demo'),
    cloner=dict(widths=[[8, 8], [8, 32], [8, 64]], points=[1, 2]),
    test_points=[0, 1])
train_cfg = dict(max_epochs=6, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


@pytest.mark.slow
def test_mean_of_classes_and_of_checkpoints(run_tool, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    (tmp_path / 'digits.py').write_text(CONFIG.format(root=ROOT))
    result = run_tool(tmp_path, 'sweep.py', 'digits.py', '--categories', '0',
                      '7')
    assert result.status == 0, result.out + result.err
    work = tmp_path / 'work_dirs/digits'
    rows = json.loads((work / 'sweep.json').read_text())['categories']
    for name, row in rows.items():
        report = json.loads((work / name / 'metrics.json').read_text())
        checkpoints = report['conditions']['checkpoints']
        assert list(checkpoints) == [
            'epoch_2.pth', 'epoch_4.pth', 'epoch_6.pth'
        ]
        aurocs = [one['image_auroc'] for one in checkpoints.values()]
        assert len(set(aurocs)) > 1
        assert row['metrics']['image_auroc'] == pytest.approx(sum(aurocs) / 3)
        assert row['metrics']['image_auroc'] > 0.5
    table = (work / 'sweep.md').read_text()
    assert '| mean of 2 of 10 |' in table
    assert 'mean over 3 checkpoints, from epoch_2.pth to epoch_6.pth' in table
