import os

import numpy as np
import pytest

from mmad.visualization.lettering import Lettering

TEXTS = [
    'part.png', 'Größe', '漢字', 'два', 'two\nlines', '%d {} \\', '', ' ',
    '\u202eleft', '🙂', 'x' * 500,
    os.fsdecode(b'kr\xe4tz')
]


@pytest.mark.parametrize('text', TEXTS)
@pytest.mark.parametrize('bold', [False, True])
def test_any_text_stays_in_its_space(text, bold):
    letters = Lettering(15, bold)
    for width in (0, 5, 40, 200):
        canvas = np.full((30, 300, 3), 255, np.uint8)
        assert letters.write(canvas, text, (20, 4), (0, 0, 0), width) <= width
        ink = (canvas < 255).any(2)
        assert not ink[:, :18].any()
        assert not ink[:, 20 + width + 2:].any()
        assert not ink[:3].any()
        assert not ink[4 + 21:].any()
        # At the end of the image too.
        letters.write(canvas, text, (280, 25))


@pytest.mark.parametrize('text', ['part.png', 'Größe', 'два'])
def test_letters_are_drawn_whole(text):
    canvas = np.full((60, 300, 3), 255, np.uint8)
    wide = Lettering(20).write(canvas, text, (10, 10))
    columns = np.flatnonzero((canvas < 255).any((0, 2)))
    assert abs(columns[0] - 10) <= 3
    assert abs(columns[-1] - 10 - wide) <= 4


def test_the_ends_of_a_long_name_are_kept():
    letters = Lettering(15)
    text = 'camera-3_' + 'x' * 100 + '_0042.png'
    short = letters.fit(text, 200)
    assert short.startswith('camera')
    assert short.endswith('_0042.png')
    assert '…' in short
    assert letters.width(short) <= 200
    # One more letter would not fit.
    assert letters.width(short + 'xx') > 200
    assert letters.fit('part.png', 200) == 'part.png'
    assert letters.fit(text, 3) == ''


def test_a_name_that_needs_a_font_of_the_system(monkeypatch):
    monkeypatch.setattr('mmad.visualization.lettering._system_font',
                        lambda: None)
    assert Lettering(20).width('漢') > 5
