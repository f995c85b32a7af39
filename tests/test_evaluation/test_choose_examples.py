import numpy as np
import pytest

from mmad.evaluation.choose_examples import Candidate, choose_examples


def draw(number, types, seed):
    rng = np.random.default_rng(seed)
    kinds = [None, *(f'type {k}' for k in range(types))]
    return [
        # With ties.
        Candidate(place, kinds[rng.integers(len(kinds))],
                  float(rng.integers(number // 3))) for place in range(number)
    ]


@pytest.mark.parametrize('types', [0, 1, 3, 40])
@pytest.mark.parametrize('limit', [0, 1, 7, 24, 60])
def test_choosing_in_parts_is_the_same_as_at_once(types, limit):
    images = draw(300, types, limit)
    at_once = choose_examples(images, limit)
    assert len(at_once) <= limit
    rng = np.random.default_rng(types)
    for parts in (2, 9):
        order = rng.permutation(len(images))
        streams = []
        for part in np.array_split(order, parts):
            kept = []
            for batch in np.array_split(part, 5):
                new = [images[place] for place in batch]
                kept = choose_examples([*kept, *new], limit)
            streams += kept
        assert choose_examples(streams, limit) == at_once


def test_prefers_what_a_threshold_gets_wrong():
    images = draw(1000, 2, 0)
    chosen = choose_examples(images, 80)
    good = sorted(image.score for image in images if image.kind is None)
    found = sorted(image.score for image in chosen if image.kind is None)
    assert found == good[:10] + good[-30:]
    for kind in ('type 0', 'type 1'):
        bad = sorted(image.score for image in images if image.kind == kind)
        found = sorted(image.score for image in chosen if image.kind == kind)
        assert found == bad[:15] + bad[-5:]


def test_sorted_by_position():
    chosen = choose_examples(draw(300, 3, 1)[::-1], 50)
    assert chosen == sorted(chosen)
