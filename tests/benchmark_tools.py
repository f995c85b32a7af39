"""How the files of `tools/benchmarks/` are imported."""
import sys

from config_texts import ROOT

FOLDER = ROOT / 'tools/benchmarks'


def import_benchmarks(monkeypatch):
    """Yield a function that imports one by name, and forget them after."""
    monkeypatch.syspath_prepend(str(FOLDER))
    known = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - known:
        if name.startswith('peers'):
            del sys.modules[name]
