import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mmad.errors import InputError

from .fitted_buffers import resize_buffers


class PyramidStore(nn.Module):
    """The stages of many images, in memory or in memory-mapped files.

    In memory they are part of the state. In files, they may be larger than
    the memory; the state holds a digest, and the files of one fit stay in
    ``FOLDER/DIGEST``, so that a new fit leaves those of an earlier one alone.
    All processes have the whole store; files they share.

    Args:
        num_levels (int): Number of stages.
        dtype (str): ``'float32'`` or ``'float16'``, in half the space.
            Defaults to ``'float32'``.
        folder (str, optional): Where the files are. Defaults to None: in
            memory.

    Attributes:
        shapes (Tensor): ``(num_levels, 3)`` int64: N images, P_k positions
            and C_k channels of each stage.
    """

    shapes: Tensor
    digest: Tensor

    def __init__(self,
                 num_levels: int,
                 dtype: str = 'float32',
                 folder: str | None = None) -> None:
        super().__init__()
        if dtype not in ('float32', 'float16'):
            raise InputError('`gallery_dtype` must be "float32" or "float16", '
                             f'got "{dtype}".')
        self.num_levels = num_levels
        self.dtype = getattr(torch, dtype)
        self.folder = None if folder is None else Path(folder).expanduser()
        self.register_buffer('shapes', torch.empty(0, 3, dtype=torch.int64))
        self.register_buffer('digest', torch.empty(0, dtype=torch.uint8))
        self._files: list[Tensor] = []
        if self.folder is None:
            self._hold([
                torch.empty(0, 0, 0, dtype=self.dtype)
                for _ in range(num_levels)
            ])

    def _hold(self, levels: Sequence[Tensor]) -> None:
        for number, level in enumerate(levels):
            self.register_buffer(f'level_{number}', level)

    @property
    def levels(self) -> list[Tensor]:
        """Per stage ``(N, P_k, C_k)`` of the data type of the store."""
        if self.folder is not None:
            return self._files
        return [getattr(self, f'level_{k}') for k in range(self.num_levels)]

    def image(self, number: int) -> list[Tensor]:
        """The stages ``(P_k, C_k)`` of one image, float32."""
        return [
            level[number].to(self.digest.device, torch.float32)
            for level in self.levels
        ]

    def reserve(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Make room for stages of these shapes ``(N, P_k, C_k)``.

        Raises:
            InputError: The files cannot be made.
        """
        self.shapes = self.shapes.new_tensor(shapes)
        if self.folder is None:
            self._hold([
                torch.zeros(shape, dtype=self.dtype, device=self.digest.device)
                for shape in shapes
            ])
        else:
            self._files = self._create(self.folder / 'partial')

    def put(self, numbers: Sequence[int], levels: Sequence[Tensor]) -> None:
        """Store the stages ``(B, P_k, C_k)`` of images by their numbers."""
        for store, level in zip(self.levels, levels, strict=True):
            store[numbers] = level.to(store)

    def finish(self, key: Tensor, all_reduce: Callable[[Tensor],
                                                       None]) -> None:
        """Complete the store from what all processes put.

        Args:
            key (Tensor): Values that tell these images from others, the same
                in all processes.
            all_reduce (Callable): Adds up a tensor over the processes, in
                place.
        """
        content = key.cpu().numpy().tobytes() + repr(
            (self.shapes.tolist(), self.dtype)).encode()
        name = hashlib.sha256(content).hexdigest()[:16]
        self.digest = torch.tensor(
            list(name.encode()), dtype=torch.uint8, device=self.digest.device)
        if self.folder is None:
            for level in self.levels:
                for images in level.split(16):
                    all_reduce(images)
            return
        self._files = []
        all_reduce(torch.zeros(1))  # all have written
        try:
            os.rename(self.folder / 'partial', self.folder / name)
        except OSError:
            # Another process was faster, or the same fit is there already.
            if not (self.folder / name).is_dir():
                raise
        all_reduce(torch.zeros(1))  # it has its name
        shutil.rmtree(self.folder / 'partial', ignore_errors=True)
        self._open()

    def _create(self, folder: Path) -> list[Tensor]:
        levels = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number, shape in enumerate(self.shapes.tolist()):
                path = folder / f'level_{number}.bin'
                size = torch.Size(shape).numel()
                with open(path, 'ab') as file:
                    file.truncate(size * self.dtype.itemsize)
                    # Else a full disk would be found out by a signal.
                    os.posix_fallocate(file.fileno(), 0,
                                       size * self.dtype.itemsize)
                levels.append(
                    torch.from_file(
                        str(path), shared=True, size=size,
                        dtype=self.dtype).view(shape))
        except OSError as error:
            raise InputError(
                f'the gallery "{folder}" cannot be written '
                f'({error.strerror}); free some space or choose another '
                '`gallery_dir`.') from error
        return levels

    def _open(self) -> None:
        folder = self.folder / bytes(self.digest.tolist()).decode()
        self._files = []
        for number, shape in enumerate(self.shapes.tolist()):
            path = folder / f'level_{number}.bin'
            size = torch.Size(shape).numel()
            if (not path.is_file()
                    or path.stat().st_size != size * self.dtype.itemsize):
                raise InputError(
                    f'the gallery file "{path}" of this checkpoint is missing '
                    'or of another size; set `model.gallery_dir` to the '
                    'folder it was fitted with, or fit again.')
            self._files.append(
                torch.from_file(
                    str(path), shared=False, size=size,
                    dtype=self.dtype).view(shape))

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        resize_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.folder is not None and len(self.digest):
            self._open()
