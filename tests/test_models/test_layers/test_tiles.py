import itertools

import pytest
import torch

from mmad.models.layers.tiles import tile_shares, tile_spans

UNIT = 8
CASES = [
    (length, size, overlap)
    for length, size in itertools.product((5, 40, 64, 65, 130, 321), (32, 64))
    for overlap in (0, 8, 24) if overlap < size
]


@pytest.mark.parametrize(('length', 'size', 'overlap'), CASES)
def test_spans(length, size, overlap):
    spans = tile_spans(length, size, overlap, UNIT)
    assert spans[0].start == 0
    assert spans[-1].stop == length
    for span in spans:
        assert span.start % UNIT == 0
        assert span.stop - span.start <= size
    for span in spans[:-1]:
        assert span.stop - span.start == size
    for one, other in itertools.pairwise(spans):
        assert one.start < other.start
        assert one.stop - other.start >= overlap
    # With one less, there would be a gap or too small an overlap.
    assert len(spans) == 1 or ((len(spans) - 1) * size -
                               (len(spans) - 2) * overlap < length)


@pytest.mark.parametrize('fade', [None, True])
@pytest.mark.parametrize(('length', 'size', 'overlap'), CASES)
def test_shares_add_up_to_one(length, size, overlap, fade):
    stride = 4
    spans = tile_spans(length, size, overlap, UNIT)
    cells = -(-length // stride)
    total = torch.zeros(cells, dtype=torch.float64)
    for span, (part, weights) in zip(
            spans, tile_shares(spans, stride, cells,
                               overlap if fade else None)):
        # Only cells that the tile has.
        assert part.start >= span.start // stride
        assert part.stop <= -(-span.stop // stride)
        assert (weights > 0).all()
        total[part] += weights
    torch.testing.assert_close(total, torch.ones_like(total))


def test_center_takes_the_tile_whose_edge_is_farther():
    spans = [slice(0, 64), slice(32, 96), slice(72, 136)]
    parts = [part for part, _ in tile_shares(spans, 4, 34, None)]
    assert parts == [slice(0, 12), slice(12, 21), slice(21, 34)]
    for part, span in zip(parts, spans):
        for cell in range(part.start, part.stop):
            # In cells; nothing lies beyond the ends of the axis.
            far = [
                min(cell - one.start // 4 if one.start else 99,
                    one.stop // 4 - 1 - cell if one.stop < 136 else 99)
                for one in spans
            ]
            assert far[spans.index(span)] == max(far)


def test_linear_falls_to_the_edge():
    spans = [slice(0, 64), slice(32, 96)]
    one, other = (w for _, w in tile_shares(spans, 8, 12, 32))
    expected = [0.875, 0.625, 0.375, 0.125]
    assert one.tolist() == [1, 1, 1, 1, *expected]
    assert other.tolist() == [*expected[::-1], 1, 1, 1, 1]
