import torch


def has_room(num_bytes: int, device: torch.device) -> bool:
    """Tell whether a tensor can be held on a device beside what is computed.

    Args:
        num_bytes (int): Size of the tensor.
        device (torch.device): On a GPU with CUDA, the tensor may take half of
            the memory that is free. Other devices are taken to have room.
    """
    if device.type != 'cuda':
        return True
    return num_bytes <= torch.cuda.mem_get_info(device)[0] // 2
