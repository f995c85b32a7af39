import operator
import platform
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

_RELUS = F.relu, F.relu_, torch.relu, torch.relu_, 'relu', 'relu_'
_SUMS = operator.add, operator.iadd, torch.add


class FusedConvolution(nn.Module):
    """A convolution and what follows it, by one operator of oneDNN.

    The output is written once, and the weights, which are not to change any
    more, are in the order that oneDNN wants.

    Args:
        convolution (nn.Conv2d): On the CPU, without gradients, padded with so
            many zeros.
        relu (bool): Whether negative values are set to zero at last.
    """

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.channels = convolution.out_channels
        self.kernel_size = list(convolution.kernel_size)
        self.places = [[int(side) for side in sides]
                       for sides in (convolution.padding, convolution.stride,
                                     convolution.dilation)]
        self.groups = convolution.groups
        self.bias = convolution.bias
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            convolution.weight.contiguous(memory_format=torch.channels_last),
            *self.places, self.groups)

    def forward(self, inputs: Tensor, other: Tensor | None = None) -> Tensor:
        """Convolve, and add another map.

        Args:
            inputs (Tensor): ``(B, C, H, W)`` float32.
            other (Tensor, optional): Of a shape that can be added to the
                output. Defaults to None.

        Returns:
            Tensor: ``(B, C', H', W')``.
        """
        fused = torch.ops.mkldnn._convolution_pointwise
        arguments = self.weight, self.bias, *self.places, self.groups
        if other is None:
            return fused(inputs, *arguments, 'relu' if self.relu else 'none',
                         [], None)
        if other.shape == self._shape(inputs):
            return fused(inputs, other, *arguments, 'add', 1.0,
                         'relu' if self.relu else None, [], None)
        total = fused(inputs, *arguments, 'none', [], None) + other
        return total.relu() if self.relu else total

    def _shape(self, inputs: Tensor) -> tuple[int, ...]:
        """The shape of the output."""
        sides = ((size + 2 * padding - dilation * (kernel - 1) - 1) // stride +
                 1 for size, kernel, padding, stride, dilation in zip(
                     inputs.shape[2:], self.kernel_size, *self.places))
        return len(inputs), self.channels, *sides


def fuse_convolutions(network: fx.GraphModule) -> None:
    """Have convolutions do the sum and the ReLU that follow them, in place.

    A sum is that of a residual block, which follows at once. Where the
    operators of oneDNN are not known to be there, nothing is changed.

    Args:
        network (fx.GraphModule): Without gradients, its weights on the CPU.
    """
    if (platform.machine().lower() not in ('x86_64', 'amd64')
            or not torch.backends.mkldnn.is_available()
            or not hasattr(torch.ops.mkldnn, '_convolution_pointwise')):
        return
    modules = dict(network.named_modules())
    calls = Counter(node.target for node in network.graph.nodes)
    for node in list(network.graph.nodes):
        convolution = modules.get(str(node.target))
        if (node.op != 'call_module' or type(convolution) is not nn.Conv2d
                or calls[node.target] > 1
                or convolution.padding_mode != 'zeros'
                or isinstance(convolution.padding, str)):
            continue
        steps, other = [node], None
        following = _only_user(node)
        if (following is not None and following is node.next
                and following.target in _SUMS and len(following.args) == 2
                and not following.kwargs):
            others = [one for one in following.args if one is not node]
            if len(others) == 1 and isinstance(others[0], fx.Node):
                other, = others
                steps.append(following)
                following = _only_user(following)
        relu = following is not None and _is_relu(following, modules)
        if relu:
            steps.append(following)
        network.set_submodule(
            str(node.target), FusedConvolution(convolution, relu))
        if other is not None:
            node.args = node.args[0], other
        for step in reversed(steps[1:]):
            step.replace_all_uses_with(node)
            network.graph.erase_node(step)
    network.delete_all_unused_submodules()
    network.recompile()


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == 'call_module':
        return type(modules.get(str(node.target))) is nn.ReLU
    return node.target in _RELUS
