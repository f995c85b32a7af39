"""What each process of the fixture `run_processes` runs."""
from datetime import timedelta

import torch
import torch.distributed as dist


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
