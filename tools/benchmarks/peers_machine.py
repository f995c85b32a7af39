"""The machine that a benchmark runs on, in words."""
import os
import platform
from pathlib import Path

import torch


def describe_machine(device: str = 'cpu') -> str:
    """Return its processor, cores, memory and system, and the GPU if used."""
    size = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    parts = [
        _processor(), f'{os.cpu_count()} cores', f'{size / 1e9:.0f} GB',
        f'{platform.system()} {platform.release()}'
    ]
    if device == 'cuda':
        parts.append(torch.cuda.get_device_name())
    return ', '.join(parts)


def _processor() -> str:
    file = Path('/proc/cpuinfo')
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()
