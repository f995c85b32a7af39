import pytest
import rich
from rich.console import Console

from mmad.utils import progress
from mmad.utils.progress import show_progress


@pytest.mark.parametrize('terminal', [True, False])
@pytest.mark.parametrize('enable', [True, False])
@pytest.mark.parametrize('main', [True, False])
@pytest.mark.parametrize('items', [[1, 2, 3], (n for n in (1, 2, 3))])
def test_bar_is_shown_by_the_first_process(monkeypatch, capsys, terminal,
                                           enable, main, items):
    console = Console(force_terminal=terminal, width=80)
    monkeypatch.setattr(rich, '_console', console)
    monkeypatch.setattr(progress, 'is_main_process', lambda: main)
    items = list(items) if isinstance(items, list) else iter([1, 2, 3])
    assert list(show_progress(items, 'Counting', enable=enable)) == [1, 2, 3]
    shown = capsys.readouterr().out
    assert ('Counting' in shown) == (enable and main)
