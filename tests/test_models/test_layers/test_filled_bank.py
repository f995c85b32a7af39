import pytest
import torch

from mmad.errors import InputError
from mmad.models.layers.filled_bank import FilledBank

ROWS, IMAGES, PER_IMAGE = 40, 5, 6


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images_of(number):
    """The images of so many rows, in turn."""
    return torch.arange(number) % IMAGES


class Bank(FilledBank):

    def images_of_rows(self):
        return images_of(len(self))


@pytest.fixture(params=['torch', 'faiss'])
def bank(request):
    """Rows of five images, and some to fill in for each but the last."""
    found = Bank(request.param)
    found.store(draw(ROWS, 4))
    found.fill_rows = draw(12, 4, seed=1) / 2
    found.fill_images = torch.arange(4).repeat_interleave(
        torch.tensor([1, 2, 4, 5]))
    return found


@pytest.mark.parametrize('k', [1, 3, 9])
@pytest.mark.parametrize('left_out', [[3], [2, 4, 0], [1, 1]])
def test_search_by_brute_force(bank, left_out, k):
    queries = draw(len(left_out) * PER_IMAGE, 4, seed=2)
    everything = torch.cat([bank.rows, bank.fill_rows])
    bank.left_out = left_out
    distances, index = bank(queries, k)
    expected = torch.cdist(queries.double(), everything.double())
    for i, image in enumerate(left_out):
        out = torch.cat([images_of(ROWS) == image, bank.fill_images != image])
        expected[i * PER_IMAGE:(i + 1) * PER_IMAGE, out] = torch.inf
    order = expected.argsort()[:, :k]
    assert (order >= ROWS).any()
    assert torch.equal(index, order)
    torch.testing.assert_close(distances.double(), expected.gather(1, order))
    assert torch.equal(bank.rows_at(index), everything[index])
    assert torch.equal(bank.rows_at(index[0, 0]), everything[index[0, 0]])


def test_ties_go_to_the_rows(bank):
    bank.fill_rows[:] = bank.rows[4]  # of the last image
    bank.left_out = [2]
    distances, index = bank(bank.rows[4:5].repeat(PER_IMAGE, 1), 3)
    assert distances.eq(0).all()
    assert index[:, 0].eq(4).all()
    assert (index[:, 1:] >= ROWS).all()


def test_they_stand_in_only_for_an_image_left_out(bank):
    queries = draw(PER_IMAGE, 4, seed=2)
    expected = torch.cdist(queries, bank.rows).min(1)
    distances, index = bank(queries)
    assert torch.equal(index[:, 0], expected.indices)
    torch.testing.assert_close(distances[:, 0], expected.values)
    assert torch.equal(bank.rows_at(index), bank.rows[index])


def test_end_of_the_calibration(bank):
    other = Bank(bank.backend)
    other.store(bank.rows)
    bank.end_calibration()
    assert bank.fill_rows.numel() == bank.fill_images.numel() == 0
    queries = draw(2 * PER_IMAGE, 4, seed=2)
    bank.left_out = other.left_out = [1, 3]
    for one, two in zip(bank(queries, 3), other(queries, 3)):
        assert torch.equal(one, two)


def test_state_dict(bank):
    other = Bank(bank.backend)
    state = bank.state_dict()
    other.load_state_dict(state)
    queries = draw(2 * PER_IMAGE, 4, seed=2)
    bank.left_out = other.left_out = [1, 3]
    for one, two in zip(bank(queries, 3), other(queries, 3)):
        assert torch.equal(one, two)
    # Older checkpoints have none.
    del state['fill_rows'], state['fill_images']
    other.load_state_dict(state)
    assert not len(other.fill_rows)


def test_images_of_other_rows(bank):
    state = bank.state_dict()
    state['fill_images'] = state['fill_images'][1:]
    with pytest.raises(InputError, match='each of the 12 rows'):
        Bank().load_state_dict(state)
