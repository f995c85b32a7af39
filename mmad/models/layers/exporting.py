import torch


def is_exporting() -> bool:
    """Whether :func:`torch.export.export` is making a graph of the model.

    A graph takes any number of images, so that nothing in it can be cut into
    blocks by that number; layers with such blocks have another form then.
    """
    # PyTorch has it from 2.7 on; before, the two cannot be told apart.
    found = getattr(torch.compiler, 'is_exporting',
                    torch.compiler.is_compiling)
    return found()
