import itertools
import pickle

import pytest

from mmad.evaluation.metrics.named_images import NamedImages

PATHS = ['d.png', 'a.png', 'c.png', 'e.png', 'b.png']


@pytest.mark.parametrize('cut', range(6))
def test_no_order_and_no_division_changes_the_text(cut):
    for order in itertools.permutations(PATHS):
        images = NamedImages(order[:cut])
        images.merge(NamedImages(order[cut:]))
        assert images.number == 5
        assert str(images) == 'a.png, b.png, c.png and 2 more'


def test_few_are_all_named():
    assert str(NamedImages(['b', 'a', 'c'])) == 'a, b, c'
    assert str(NamedImages(['a'])) == 'a'
    assert NamedImages().number == 0


def test_memory_does_not_grow():
    few, many = (NamedImages(f'{i:06}' for i in range(n)) for n in (9, 9999))
    assert len(pickle.dumps(many)) <= len(pickle.dumps(few)) + 1
