"""`tools/install.py` asks for what is missing."""
import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / 'tools' / 'install.py'


@pytest.mark.parametrize(('present', 'options', 'extras'),
                         [((), [], '[mmcv-lite,faiss]'),
                          (('mmcv', ), [], '[faiss]'),
                          (('mmcv', 'faiss'), [], ''),
                          (('mmcv', 'faiss'), ['tests'], '[tests]'),
                          ((), ['mmcv'], '[mmcv,faiss]'),
                          ((), ['gpu', 'timm'], '[gpu,timm,mmcv-lite]')])
def test_extras(monkeypatch, present, options, extras):
    commands = []
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name
                        if name in present else None)
    monkeypatch.setattr(subprocess, 'call',
                        lambda command: commands.append(command) or 3)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), '-e', *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert end.value.code == 3
    (*pip, editable, target), = commands
    assert pip[1:] == ['-m', 'pip', 'install']
    assert editable == '-e'
    assert target == f'{TOOL.parents[1]}{extras}'
