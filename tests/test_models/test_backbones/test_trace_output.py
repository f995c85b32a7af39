import torch
from torch import nn

from mmad.models.backbones.trace_output import trace_output


class Counting(nn.Module):
    """It caches a tensor, as position embeddings are, and counts its runs."""

    def __init__(self, numbers=False):
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.numbers = numbers
        self.cached = None
        self.runs = []

    def forward(self, inputs):
        self.runs.append(inputs.shape)
        if self.numbers:
            assert float(inputs.sum()) == 0
        self.cached = torch.zeros(len(inputs))
        return dict(map=self.norm(self.layer(inputs)))


def test_shapes_without_a_trace_in_the_module():
    module = Counting().eval()
    state = torch.get_rng_state()
    output = trace_output(module, (20, 30))
    assert output['map'].shape == (1, 5, 10, 15)
    assert output['map'].is_meta
    assert module.cached is None
    assert not module.runs
    assert module.layer.weight.device.type == 'cpu'
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_that_needs_numbers_is_run():
    module = Counting(numbers=True).eval()
    output = trace_output(module, (20, 30))
    assert output['map'].shape == (1, 5, 10, 15)
    assert not output['map'].requires_grad
    assert len(module.runs) == 1
