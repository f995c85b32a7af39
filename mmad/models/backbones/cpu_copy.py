import copy
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .fused_convolution import fuse_convolutions

# That many are enough for a thread, more only take memory.
_PIXELS_PER_THREAD = 4 * 224 * 224

# Maps ``(B, C_k, H_k, W_k)`` that a network makes of images.
Maps = Callable[[nn.Module, Tensor], Sequence[Tensor]]


class CPUCopy:
    """A copy of a frozen network that computes the same faster on a CPU.

    Its weights lie in channels-last order, which suits the convolutions of
    oneDNN, and what follows a convolution is computed with it: normalization
    is folded into it, sums and ReLU are done by its operator, but under
    autocast. It gets a few images at a time. What it returns is the same up to
    rounding. The network itself and its state dict stay as they are.

    The copy is made when it is first asked for, and again when the weights
    have changed since.
    """

    def __init__(self) -> None:
        self._made: tuple[tuple, nn.Module] | None = None

    def compute(self, network: nn.Module, inputs: Tensor,
                maps: Maps) -> tuple[Tensor, ...]:
        """Compute maps with the copy where there is one, else the network.

        Args:
            network (nn.Module): See :meth:`find`.
            inputs (Tensor): ``(B, 3, H, W)``.
            maps (Callable): Of the network or its copy, and images.

        Returns:
            tuple[Tensor, ...]: ``(B, C_k, H_k, W_k)`` each.
        """
        body = self.find(network, inputs)
        if body is network:
            return tuple(maps(network, inputs))
        pixels = inputs.shape[2] * inputs.shape[3]
        number = _PIXELS_PER_THREAD * torch.get_num_threads() // pixels
        if len(inputs) <= number:
            return tuple(maps(body, inputs))
        parts = [maps(body, part) for part in inputs.split(max(1, number))]
        return tuple(torch.cat(level) for level in zip(*parts, strict=True))

    def find(self, network: nn.Module, inputs: Tensor) -> nn.Module:
        """Find the module that shall have these inputs.

        Args:
            network (nn.Module): In evaluation mode. Batch normalization is
                folded if it is a graph, ``fx.GraphModule``.
            inputs (Tensor): ``(B, 3, H, W)``.

        Returns:
            nn.Module: The copy for float32 images on a CPU if no weight takes
            a gradient and the network has several convolutions; ``network``
            otherwise, and while the model is compiled or exported or gradients
            of the images are computed.
        """
        weights = [*network.parameters(), *network.buffers()]
        if (inputs.device.type != 'cpu' or inputs.dtype != torch.float32
                or torch.compiler.is_compiling() or torch.jit.is_tracing()
                or (inputs.requires_grad and torch.is_grad_enabled())
                or any(weight.requires_grad or weight.is_inference()
                       or weight.device.type != 'cpu' for weight in weights)):
            return network
        fuses = not torch.is_autocast_enabled('cpu')
        state = fuses, [(weight.data_ptr(), weight._version)
                        for weight in weights]
        if self._made is None or self._made[0] != state:
            self._made = state, _copy(network, fuses)
        return self._made[1]

    def __deepcopy__(self, memo: dict) -> 'CPUCopy':
        return CPUCopy()

    def __getstate__(self) -> dict:
        return dict(_made=None)


@torch.inference_mode(False)
@torch.no_grad()
def _copy(network: nn.Module, fuses: bool) -> nn.Module:
    convolutions = [
        module for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    # A transformer has one, which takes little of its time.
    if len(convolutions) < 2:
        return network
    network = copy.deepcopy(network)
    # The copy of a graph forgets it.
    for module in network.modules():
        module.training = False
    if isinstance(network, fx.GraphModule):
        # Once more, into the operators of torchvision that it calls.
        network = fx.symbolic_trace(network)
        fold_batch_norms(network)
    network.to(memory_format=torch.channels_last)
    if isinstance(network, fx.GraphModule) and fuses:
        fuse_convolutions(network)
    return network


def fold_batch_norms(network: fx.GraphModule) -> None:
    """Fold batch normalization into the convolutions before, in place.

    Those are folded that alone take what a convolution returns.

    Args:
        network (fx.GraphModule): In evaluation mode.
    """
    modules = dict(network.named_modules())
    calls = Counter(node.target for node in network.graph.nodes)
    for node in network.graph.nodes:
        before = node.args[0] if node.args else None
        if (not isinstance(before, fx.Node) or len(before.users) > 1
                or calls[node.target] > 1 or calls[before.target] > 1):
            continue
        name = str(before.target)
        norm, convolution = modules.get(str(node.target)), modules.get(name)
        if (type(norm) is not nn.BatchNorm2d or norm.running_mean is None
                or type(convolution) is not nn.Conv2d):
            continue
        network.set_submodule(name, fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
