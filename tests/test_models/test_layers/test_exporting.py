import pytest
import torch
from torch import nn

from mmad.models.layers.exporting import is_exporting


class Tell(nn.Module):

    def forward(self, inputs):
        return inputs + (1 if is_exporting() else 2)


def test_only_while_a_graph_is_made():
    inputs = torch.zeros(3)
    assert Tell()(inputs).tolist() == [2, 2, 2]
    graph = torch.export.export(Tell(), (inputs, )).module()
    assert graph(inputs).tolist() == [1, 1, 1]
    assert Tell()(inputs).tolist() == [2, 2, 2]


@pytest.mark.skipif(
    not hasattr(torch.compiler, 'is_exporting'),
    reason='before PyTorch 2.7, the two cannot be told apart')
def test_not_while_a_model_is_compiled():
    compiled = torch.compile(Tell(), backend='eager')
    assert compiled(torch.zeros(3)).tolist() == [2, 2, 2]
