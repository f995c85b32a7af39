"""`tools/benchmarks/sizing.py`: the model behind its tables."""
import argparse

import pytest
from config_texts import ROOT


@pytest.fixture
def sizing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools/benchmarks'))
    import sizing
    return sizing


def run(patches, ratio, processes=1, **figures):
    found = dict(
        size=224,
        ratio=ratio,
        processes=processes,
        patches=patches,
        rows=int(patches * ratio),
        features=1.0,
        coreset=3e-9 * patches**1.1 * int(patches * ratio)**0.7,
        memory=2**20,
        backbone=0.03,
        predict=0.05)
    return dict(found, **figures)


def test_exponents_are_found(sizing):
    runs = [run(n, r) for n in (4000, 9000, 30_000) for r in (0.01, 0.1)]
    assert sizing.fit_power(runs) == pytest.approx((3e-9, 1.1, 0.7))


def test_gpus_share_what_is_held_and_read(sizing):
    one = sizing.on_gpus(10**7, 0.01, 1, 2e12, 5e-5, 384)
    four = sizing.on_gpus(10**7, 0.01, 4, 2e12, 5e-5, 384)
    assert four['held'] == one['held'] / 4
    assert four['bank'] == one['bank'] == 10**5 * 384 * 4
    # 10^5 picks: 10^7 rows of 512 bytes, or a quarter and an exchange.
    assert one['seconds'] == pytest.approx(10**5 * 10**7 * 512 / 2e12)
    assert four['seconds'] == pytest.approx(one['seconds'] / 4 + 10**5 * 5e-5)


def test_exponents_are_those_of_one_process(sizing):
    """Runs in several processes are shown, but do not count for them."""
    args = argparse.Namespace(threads=2, gpu_bandwidth=2.0, latency=50.0)
    single = [run(n, r) for n in (4000, 9000) for r in (0.01, 0.1)]
    several = [run(4000, 0.01, 2, coreset=99.0, memory=None)]
    text = sizing.report([*single, *several], args, 1e10, 384)
    words = text.replace('\n', ' ')
    assert 'power of 1.10 times rows to the power of 0.70' in words
    row = '| 224 | 1% | 2 | 4,000 | 40 | 1.0 | 99.00 | - | 30 | 50 |'
    assert row in text
    assert 'power' not in sizing.report(single[:3], args, 1e10, 384)
