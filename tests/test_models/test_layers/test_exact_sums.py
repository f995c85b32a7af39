import torch

from mmad.models.layers.exact_sums import to_fixed_point


def test_rounds_to_the_nearest_multiple():
    values = torch.tensor([0., 0.2, -0.2, 0.13, 1.0])
    assert to_fixed_point(values, 2).tolist() == [0, 0.25, -0.25, 0.25, 1]


def test_error_is_at_most_half_a_step():
    values = torch.randn(1000, dtype=torch.float64)
    fixed = to_fixed_point(values, 10)
    assert fixed.dtype == torch.float64
    assert (fixed - values).abs().max() <= 2**-11
    assert torch.equal(to_fixed_point(fixed, 10), fixed)


def test_values_stay_as_they_are():
    values = torch.full((3, ), 0.3, dtype=torch.float64)
    to_fixed_point(values, 1)
    assert (values == 0.3).all()


def test_sums_of_products_do_not_depend_on_the_order():
    generator = torch.Generator().manual_seed(0)
    values = 4 * torch.randn(2000, 2, generator=generator)
    order = torch.randperm(2000, generator=generator)

    def product(rows):
        total = torch.zeros(2, 2, dtype=torch.float64)
        for part in rows.split(17):
            total += part.T @ part
        return total

    assert not torch.equal(
        product(values.double()), product(values[order].double()))
    fixed = to_fixed_point(values, 16)
    assert torch.equal(product(fixed), product(fixed[order]))
