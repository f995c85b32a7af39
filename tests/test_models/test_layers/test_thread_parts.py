import threading
import time

import pytest
import torch

from mmad.models.layers import thread_parts
from mmad.models.layers.thread_parts import for_each


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize('number', [0, 1, 2, 7, 100])
def test_each_part_once(threads, number):
    done, used = [], set()

    def note(part):
        assert threads == 1 or number == 1 or torch.get_num_threads() == 1
        time.sleep(0.001)
        used.add(threading.get_ident())
        done.append(part)

    for_each(note, (part for part in range(number)))
    assert sorted(done) == list(range(number))
    assert len(used) <= min(threads, number)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize('bad', [0, 3, 19])
def test_errors_are_raised(threads, bad):

    def fail(part):
        time.sleep(0.001)
        if part == bad:
            raise ValueError(f'part {part}')

    with pytest.raises(ValueError, match=f'part {bad}'):
        for_each(fail, range(20))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize('has_pause', [True, False])
def test_operations_go_on_as_before(threads, has_pause, monkeypatch):
    if not has_pause:
        monkeypatch.setattr(thread_parts, '_find_pause', lambda: None)
    rows = torch.rand(400, 400, generator=torch.Generator().manual_seed(0))
    expected = rows @ rows
    found = {}
    for _ in range(3):
        found.clear()
        for_each(lambda part: found.update({part: rows @ rows[:, part]}),
                 range(8))
        assert torch.equal(rows @ rows, expected)
        for part, column in found.items():
            torch.testing.assert_close(column, expected[:, part])
