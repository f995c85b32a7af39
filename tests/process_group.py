"""What processes of a group need: a place to meet, and a function to run."""
import errno
import random
import socket
from datetime import timedelta

import torch
import torch.distributed as dist


def free_port():
    """Return a port, as text, that no outgoing connection gets by chance."""
    # Not by the seed of a test: other workers draw at the same time.
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(20000, 29000)
        with socket.socket() as one:
            try:
                one.bind(('127.0.0.1', port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return str(port)


def run_in_group(rank, world, folder, meeting, function, args):
    dist.init_process_group(
        'gloo',
        init_method=f'file://{meeting}',
        timeout=timedelta(minutes=5),
        rank=rank,
        world_size=world)
    torch.save(function(rank, *args), folder / f'{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()
