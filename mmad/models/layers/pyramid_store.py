import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_folder, check_number

from .fitted_module import FittedModule
from .memory_bank import without
from .partial_folder import PartialFolder
from .processes import all_reduce_, barrier, broadcast_, rank
from .row_file import reserve


class PyramidStore(FittedModule):
    """The stages of many images, in memory or in memory-mapped files.

    In memory they are part of the state. In files, they may be larger than
    the memory; the state holds a digest, and the files of one fit stay in
    ``FOLDER/DIGEST``, so that a new fit leaves those of an earlier one alone.
    What a fit that failed or was killed has left there, the next one removes.
    All processes have the whole store; files they share.

    Args:
        num_levels (int): Number of stages.
        dtype (str): ``'float32'`` or ``'float16'``, in half the space.
            Defaults to ``'float32'``.
        folder (str, optional): Where the files are. Defaults to None: in
            memory.

    Attributes:
        shapes (Tensor): ``(num_levels, 4)`` int64: N, h_k, w_k and C_k of
            each stage.
    """

    shapes: Tensor
    digest: Tensor

    def __init__(self,
                 num_levels: int,
                 dtype: str = 'float32',
                 folder: str | None = None) -> None:
        super().__init__()
        check_number('num_levels', num_levels, low=1, integer=True)
        check_choice('gallery_dtype', dtype, ('float32', 'float16'))
        check_folder('gallery_dir', folder, optional=True)
        self.num_levels = num_levels
        self.dtype = getattr(torch, dtype)
        self.folder = None if folder is None else Path(folder).expanduser()
        self.register_fitted('shapes', ndim=2, dtype=torch.int64)
        self.register_fitted('digest', dtype=torch.uint8)
        self._files: list[Tensor] = []
        self._partial: PartialFolder | None = None
        # What is carried over from an earlier fit, and which images of it.
        self._earlier: list[Tensor] = []
        self._kept: list[int] = []
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
        """The stored features ``(N, P_k, C_k)`` of each stage."""
        if self.folder is not None:
            return self._files
        return [getattr(self, f'level_{k}') for k in range(self.num_levels)]

    def image(self, number: int) -> list[Tensor]:
        """The stages ``(P_k, C_k)`` of one image, float32."""
        return [
            level[number].to(self.digest.device, torch.float32)
            for level in self.levels
        ]

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Height and width of each stage."""
        return [(h, w) for _, h, w, _ in self.shapes.tolist()]

    def _sizes(self) -> list[tuple[int, int, int]]:
        return [(n, h * w, c) for n, h, w, c in self.shapes.tolist()]

    def reset(self) -> None:
        super().reset()
        self._files, self._earlier = [], []
        if self.folder is None:
            self._hold([level.new_empty(0, 0, 0) for level in self.levels])
        self._draw_token()

    def _draw_token(self) -> None:
        # Tells this fit from others that may run at the same time.
        self._token = int(broadcast_(torch.tensor(uuid.uuid4().int >> 80)))

    def reopen(self) -> None:
        self._earlier = self.levels
        self._kept = list(range(len(self._earlier[0])))
        self._draw_token()

    def forget(self, ids: list[int], features: Any = None) -> None:
        self._kept = without(len(self._kept), ids)

    def _carry_over(self) -> None:
        """Copy the images of an earlier fit to where all will be."""
        earlier, self._earlier = self._earlier, []
        self._reserve(self.shapes[:, 1:].tolist())
        for store, level in zip(self.levels, earlier, strict=True):
            # One at a time, so that files need no memory.
            for place, image in enumerate(self._kept):
                store[place] = level[image]

    def _reserve(self, shapes: Sequence[Sequence[int]]) -> None:
        """Make room for all images, with stages of ``(h_k, w_k, C_k)``."""
        self.shapes = self.shapes.new_tensor([(self.num_images, *shape)
                                              for shape in shapes])
        if self.folder is None:
            self._hold([
                torch.zeros(size, dtype=self.dtype, device=self.digest.device)
                for size in self._sizes()
            ])
        else:
            self._files = self._create(self.folder, self._token)

    def update(self, features: Sequence[Tensor], ids: list[int]) -> None:
        """Store the stages of new images.

        Args:
            features (Sequence[Tensor]): ``(B, C_k, h_k, w_k)`` each.
            ids (list[int]): Numbers of the images.

        Raises:
            InputError: A value is too large for the data type, the stages
                have other grids than those before, or the files cannot be
                written.
        """
        if not len(self.shapes):
            self._reserve([(*level.shape[2:], level.shape[1])
                           for level in features])
        self.check_grids(features)
        if self._earlier:
            self._carry_over()
        for store, level in zip(self.levels, features, strict=True):
            level = level.flatten(2).mT.to(store)
            if not torch.isfinite(level).all():
                raise InputError(
                    'features beyond 65504 do not fit into float16; use '
                    '`gallery_dtype="float32"`, or check the weights.')
            store[ids] = level

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        state = {
            f'level_{number}': level[ids].cpu()
            for number, level in enumerate(self.levels if ids else [])
        }
        return dict(
            state,
            ids=torch.tensor(ids, dtype=torch.int64),
            shapes=self.shapes[:, 1:].clone())

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        if not len(state['ids']):
            return
        if not len(self.shapes):
            self._reserve(state['shapes'].tolist())
        for number, level in enumerate(self.levels):
            level[state['ids']] = state[f'level_{number}'].to(level)

    def check_grids(self, levels: Sequence[Tensor]) -> None:
        """Raise :class:`InputError` if stages have other grids."""
        grids = [tuple(level.shape[-2:]) for level in levels]
        if grids != self.grids:
            raise InputError(
                f'the stages of an image have the grids {grids} instead of '
                f'{self.grids}; all images must reach the model in one size: '
                'resize or crop them in the pipeline.')

    def complete(self, key: Tensor) -> None:
        """Complete the store from what all processes took in.

        Args:
            key (Tensor): Values that tell these images from others, the same
                in all processes.

        Raises:
            InputError: The processes do not see the same folder.
        """
        if self._earlier:
            self._carry_over()
        content = key.cpu().numpy().tobytes() + repr(
            (self.shapes.tolist(), self.dtype)).encode()
        name = hashlib.sha256(content).hexdigest()[:16]
        self.digest = torch.tensor(
            list(name.encode()), dtype=torch.uint8, device=self.digest.device)
        if self.folder is None:
            for level in self.levels:
                for images in level.split(16):
                    all_reduce_(images)
            return
        self._files = []
        partial = self._partial.path  # type: ignore[union-attr]
        final = self.folder / name
        (partial / f'{uuid.uuid4().hex}.done').touch()
        number = int(all_reduce_(torch.ones(1)))  # all have written
        done = list(partial.glob('*.done'))
        barrier()  # and counted
        if len(done) != number:
            raise InputError(
                f'{number} processes wrote a gallery, but {len(done)} of '
                f'them are visible in "{partial}"; `gallery_dir` must be '
                'one folder for all.')
        if rank() == 0:
            for path in done:
                path.unlink()
            # What is there already is of the same fit, whole or damaged.
            shutil.rmtree(final, ignore_errors=True)
            os.rename(partial, final)
        barrier()  # it has its name
        self._partial.release()  # type: ignore[union-attr]
        self._open(self.folder)

    def _create(self, parent: Path, token: int) -> list[Tensor]:
        levels = []
        self._partial = None  # of a fit that was given up
        try:
            self._partial = PartialFolder(parent, token)
            folder = self._partial.path
            for number, shape in enumerate(self._sizes()):
                path = folder / f'level_{number}.bin'
                size = torch.Size(shape).numel()
                with open(path, 'ab') as file:
                    reserve(file, size * self.dtype.itemsize)
                levels.append(
                    torch.from_file(
                        str(path), shared=True, size=size,
                        dtype=self.dtype).view(shape))
        except OSError as error:
            if self._partial is not None:
                self._partial.remove()
            raise InputError(
                f'the gallery in "{parent}" cannot be written '
                f'({error.strerror}); free some space or choose another '
                '`gallery_dir`.') from error
        return levels

    def _open(self, parent: Path) -> None:
        name = bytes(self.digest.tolist()).decode(errors='replace')
        # A checkpoint may name nothing outside of the folder.
        if not re.fullmatch('[0-9a-f]{16}', name):
            raise InputError(
                'the checkpoint does not name the files of its gallery; it '
                'is damaged: fit again.')
        folder = parent / name
        self._files = []
        for number, shape in enumerate(self._sizes()):
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
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.folder is not None and len(self.digest):
            self._open(self.folder)
