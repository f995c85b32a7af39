import pytest
import torch

from mmad.errors import InputError
from mmad.models.layers.filled_bank import FilledBank

FILL_IMAGES = [2, 0, 2, 2]


@pytest.fixture
def bank():
    generator = torch.Generator().manual_seed(0)
    bank = FilledBank()
    # Each row is one of an image of its own.
    bank.store(torch.randn(9, 4, generator=generator))
    bank.fill_rows = torch.randn(4, 4, generator=generator)
    bank.fill_images = torch.tensor(FILL_IMAGES)
    return bank


def draw_queries(number):
    return torch.randn(number, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('k', [1, 3, 8])
def test_fills_take_the_place_of_what_is_left_out(bank, k):
    bank.left_out = [2, 5, 0]
    queries = draw_queries(6)
    queries[1] = bank.fill_rows[3] + 0.01
    distances, index = bank(queries, k)
    every = torch.cat([bank.rows, bank.fill_rows]).double()
    owners = torch.tensor([*range(9), *FILL_IMAGES])
    for number, image in enumerate([2, 2, 5, 5, 0, 0]):
        allowed = owners != image
        allowed[9:] = ~allowed[9:]
        exact = (every - queries[number].double()).norm(dim=1)
        exact[~allowed] = torch.inf
        expected = exact.sort()
        assert torch.equal(index[number], expected.indices[:k])
        torch.testing.assert_close(distances[number].double(),
                                   expected.values[:k])
    assert index[1, 0] == 12
    assert torch.equal(bank.rows_at(index), every[index].float())


def test_otherwise_fills_do_not_count(bank):
    queries = draw_queries(6)
    distances, index = bank(queries, 9)
    assert torch.equal(index.sort(1).values, torch.arange(9).expand(6, 9))
    exact = torch.cdist(queries.double(), bank.rows.double()).sort(1).values
    torch.testing.assert_close(distances.double(), exact)


def test_after_the_calibration_there_are_none(bank):
    bank.end_calibration()
    bank.left_out = [2]
    _, index = bank(draw_queries(3), 8)
    assert index.max() < 9


def test_fills_travel_in_the_state(bank):
    other = FilledBank()
    other.load_state_dict(bank.state_dict())
    bank.left_out = other.left_out = [2]
    queries = draw_queries(3)
    for expected, found in zip(bank(queries, 3), other(queries, 3)):
        assert torch.equal(found, expected)


def test_an_older_state_has_none(bank):
    state = bank.state_dict()
    del state['fill_rows'], state['fill_images']
    other = FilledBank()
    other.load_state_dict(state)
    assert len(other.fill_rows) == len(other.fill_images) == 0
    assert torch.equal(other.rows, bank.rows)


def test_a_damaged_state(bank):
    state = bank.state_dict()
    state['fill_images'] = state['fill_images'][:3]
    with pytest.raises(InputError, match='which image each of the 4 rows'):
        FilledBank().load_state_dict(state)
