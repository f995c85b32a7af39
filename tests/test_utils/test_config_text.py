import re
from pathlib import Path

import pytest
from mmengine.config import Config
from yapf.yapflib.yapf_api import FormatCode

from mmad.utils.config_file import read_config
from mmad.utils.config_text import config_text

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(
    path for path in ROOT.glob('configs/*/*.py')
    if path.parent.name != '_base_')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_reproduces_the_config(path, tmp_path):
    cfg = read_config(path)
    text = config_text(cfg)
    copy = tmp_path / 'copy.py'
    copy.write_text(text)
    for read in (read_config, Config.fromfile):
        assert read(copy).to_dict() == cfg.to_dict()
    assert config_text(read_config(copy)) == text


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_each_pipeline_once(path):
    text = config_text(read_config(path))
    pipelines = re.findall(r'pipeline=\[.*?\n *\]', text, re.DOTALL)
    assert len(set(pipelines)) == len(pipelines)


def test_what_is_the_same(monkeypatch):
    # As users see it; the tests leave configs unformatted.
    monkeypatch.setattr('mmengine.config.config.FormatCode', FormatCode)
    pipeline = [dict(type='PackInputs')]
    loader = dict(dataset=dict(pipeline=pipeline, split='test'), num_workers=0)
    cfg = Config(
        dict(
            test_dataloader=loader,
            train_dataloader=dict(dataset=dict(pipeline=pipeline)),
            val_dataloader=dict(loader, num_workers=False),
            val_cfg={},
            test_cfg={}))
    text = config_text(cfg)
    assert "pipeline=test_dataloader['dataset']['pipeline']" in text
    assert text.count('PackInputs') == 1
    # False is not zero, and nothing refers to an empty dict.
    assert 'num_workers=False' in text
    assert text.count('_cfg = dict(') == 2
    namespace = {}
    exec(text, namespace)
    for key, value in cfg.to_dict().items():
        assert repr(namespace[key]) == repr(value)
