import logging
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.logging import MMLogger

from mmad.datasets.scan_log import log_scan


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmad.datasets.scan_log.print_log',
        lambda line, logger, level: lines.append((line, level)))
    return lines


def report(skipped, folder=None):
    folder = folder or Path(f'/{uuid.uuid4()}')
    log_scan(
        'Set (test)', folder,
        [dict(defect_type='good')] * 3 + [dict(defect_type='cut')], {
            why: [f'{folder}/{name}' for name in names]
            for why, names in skipped.items()
        })
    return folder


def test_one_line(said):
    folder = report({'of no use': ['a', 'b/c'], 'hidden': ['.d']})
    assert said == [(
        f'Set (test) of "{folder}": took 4 images (3 good, 1 cut); left out 2 '
        'of no use (a, b/c); left out 1 hidden (.d).', logging.WARNING)]


@pytest.mark.parametrize('skipped', [{}, {'hidden': ['.a']}])
def test_nothing_to_warn_of(said, skipped):
    report(skipped)
    assert said[0][1] == logging.INFO


def test_many_names(said):
    report({'of no use': [str(i) for i in range(100)]})
    assert said[0][0].endswith('left out 100 of no use (0, 1, 2, 3, 4, ...).')


def test_odd_names(said):
    report({'of no use': ['a\nb', 'c\udcff']})
    line = said[0][0]
    assert len(line.splitlines()) == 1
    line.encode()


def test_once_per_logger(said, monkeypatch):
    folder = report({})
    report({}, folder)
    assert len(said) == 1
    monkeypatch.setattr(
        MMLogger, 'get_current_instance',
        classmethod(lambda cls: SimpleNamespace(instance_name='another')))
    report({}, folder)
    assert len(said) == 2
