import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_number

from .exporting import is_exporting
from .fitted_module import FittedModule
from .nearest_neighbors import distances_to, nearest_rows, squared_norms
from .processes import all_reduce_
from .sketched_rows import SketchedRows


class MemoryBank(FittedModule):
    """Features of normal images with a nearest-neighbor search over them.

    It holds one row for each image, in the order of their numbers;
    :class:`~mmad.models.layers.CoresetBank` holds chosen patches instead.
    Distances are always computed from the rows themselves, so every back end
    gives the same numbers for the same neighbors. For an image that is left
    out, its own rows are ignored.

    Args:
        backend (str): ``'torch'`` searches where the rows are, CPU or GPU,
            without a second copy of them; on the CPU, a sketch of each row
            rules most of them out. ``'faiss'`` uses that library. Defaults
            to ``'torch'``.
        index (str): faiss index factory string, such as ``'Flat'`` (exact),
            ``'IVF4096,Flat'`` or ``'HNSW32'`` (approximate, for millions of
            rows). An approximate index is part of the state. Defaults to
            ``'Flat'``.
        nprobe (int): Lists that an IVF index visits; for HNSW the size of its
            candidate list. Defaults to 32.

    Raises:
        InputError: An argument is out of its range, or faiss is missing.

    Attributes:
        rows (Tensor): ``(N, D)`` float32.
    """

    can_leave_out = True
    rows: Tensor
    norms: Tensor
    index_bytes: Tensor

    def __init__(self,
                 backend: str = 'torch',
                 index: str = 'Flat',
                 nprobe: int = 32) -> None:
        super().__init__()
        check_choice('backend', backend, ('torch', 'faiss'))
        check_number('nprobe', nprobe, low=1, integer=True)
        if not isinstance(index, str):
            raise InputError('`index` must be a factory string of faiss, such '
                             f'as "Flat", got {index!r}.')
        if backend == 'torch' and index != 'Flat':
            raise InputError(
                f'index "{index}" needs backend="faiss"; torch is exact.')
        if backend == 'faiss':
            _faiss()
        self.backend = backend
        self.index_factory = index
        self.nprobe = nprobe
        self.register_fitted('rows', ndim=2)
        self.register_buffer('norms', torch.empty(0), persistent=False)
        self.register_buffer('index_bytes', torch.empty(0, dtype=torch.uint8))
        self._index: Any = None
        self._sketched: SketchedRows | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def reset(self) -> None:
        super().reset()
        self.index_bytes = self.index_bytes.new_empty(0)
        self.norms = self.norms.new_empty(0)
        self._index = None
        self._sketched = None
        self._collected: list[tuple[list[int], Tensor]] = []

    @property
    def num_fitted(self) -> int:
        return len(self)

    def reopen(self) -> None:
        self._collected = [(list(range(len(self))), self.rows)]

    def forget(self, ids: list[int], features: Any = None) -> None:
        (_, rows), = self._collected
        rows = rows[without(len(rows), ids)]
        self._collected = [(list(range(len(rows))), rows)]

    def update(self, features: Tensor, ids: list[int]) -> None:
        """Take in the features ``(B, D)`` of new images."""
        self._collected.append((list(ids), features))

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        wanted = set(ids)
        own = [(number, row) for numbers, features in self._collected
               if not wanted.isdisjoint(numbers)
               for number, row in zip(numbers, features, strict=True)
               if number in wanted]
        if not own:
            return {}
        numbers, rows = zip(*own, strict=True)
        return dict(numbers=torch.tensor(numbers), rows=torch.stack(rows))

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        if state:
            self._collected.append(
                (state['numbers'].tolist(), state['rows'].to(self.rows)))

    def finalize(self) -> None:
        """Give every process the rows of all images."""
        numbers = torch.tensor([i for ids, _ in self._collected for i in ids])
        rows = torch.cat([features for _, features in self._collected])
        total = int(all_reduce_(torch.tensor(len(numbers))))
        table = rows.new_zeros(total, rows.shape[1])
        table[numbers] = rows
        self._collected = []
        self.store(all_reduce_(table))

    def store(self, rows: Tensor) -> None:
        """Replace the contents by ``rows`` ``(N, D)`` and index them."""
        self.rows = rows.contiguous()
        self.index_bytes = self.index_bytes.new_empty(0)
        self._sketched = None
        if self.backend == 'torch':
            self.norms = squared_norms(self.rows)
        else:
            self._build_index()

    def search_by_torch(self) -> None:
        """Search the rows by ``'torch'`` from now on, which is exact."""
        self.backend, self.index_factory = 'torch', 'Flat'
        self.store(self.rows)

    def images_of_rows(self) -> Tensor:
        """Return the number ``(N,)`` of the image that each row is from."""
        return torch.arange(len(self), device=self.rows.device)

    def forward(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Find the nearest rows.

        Args:
            queries (Tensor): ``(Q, D)``. With ``left_out``, equally many of
                each of these images, one image after the other.
            k (int): Number of neighbors, from 1 to ``len(self)``.

        Returns:
            tuple[Tensor, Tensor]: Euclidean distances ``(Q, k)``, ascending
            up to rounding, and indices ``(Q, k)``.

        Raises:
            InputError: There are too few rows, without those of the image
                itself if it is left out, or they have another length, or
                ``k`` is less than 1.
        """
        check_number('k', k, low=1, integer=True)
        if k > len(self) or queries.shape[1] != self.rows.shape[1]:
            raise InputError(
                f'the memory bank has {len(self)} rows of '
                f'{self.rows.shape[1]} values, but {k} of '
                f'{queries.shape[1]} are asked for; the checkpoint is damaged '
                'or of another model: fit again.')
        if self.left_out is not None:
            index = self._search_others(queries, k, self.left_out)
        elif self.backend == 'torch':
            sketched = self._sketched_rows()
            index = (
                nearest_rows(queries, self.rows, self.norms, k)
                if sketched is None else sketched.nearest(queries, k))
        else:
            index = self._search_index(queries, k)
            self._require_found(index >= 0, k)
        return self.distances(queries, index), index

    def distances(self, queries: Tensor, index: Tensor) -> Tensor:
        """Compute distances to what a search has found.

        Args:
            queries (Tensor): ``(Q, D)``.
            index (Tensor): ``(Q, k)`` indices as of :meth:`forward`.

        Returns:
            Tensor: ``(Q, k)`` Euclidean distances.
        """
        return distances_to(queries, self.rows, index)

    def _sketched_rows(self) -> SketchedRows | None:
        """The rows for a search on the CPU, None elsewhere."""
        rows = self.rows
        if not rows.is_cpu or rows.dtype != torch.float32 or is_exporting():
            return None
        # Another tensor may have come in its place, by a move to the CPU.
        if self._sketched is None or self._sketched.rows is not rows:
            self._sketched = SketchedRows(rows)
        return self._sketched

    def _search_others(self, queries: Tensor, k: int,
                       left_out: Sequence[int]) -> Tensor:
        """Search all rows but those of the image of each query."""
        images = self.images_of_rows()
        sketched = self._sketched_rows() if self.backend == 'torch' else None
        found: list[Tensor] = []
        groups = queries.unflatten(0, (len(left_out), -1))
        for image, group in zip(left_out, groups, strict=True):
            own = images == image
            number = int(own.sum())
            if len(self) - number < k:
                raise InputError(
                    f'without those of image {image}, {len(self) - number} '
                    f'rows are left in the memory bank, but {k} are asked '
                    'for; add images, or keep more rows of each.')
            if sketched is not None:
                found.append(
                    sketched.nearest(group, k, images,
                                     torch.full((len(group), ), image)))
                continue
            if self.backend == 'torch':
                norms = self.norms.masked_fill(own, torch.inf)
                found.append(nearest_rows(group, self.rows, norms, k))
                continue
            # At most all of its rows come before the others.
            index = self._search_index(group, k + number)
            others = (index >= 0) & ~own[index]
            order = torch.sort(
                others.int(), dim=1, descending=True, stable=True)[1][:, :k]
            self._require_found(others.gather(1, order), k)
            found.append(index.gather(1, order))
        return torch.cat(found)

    def _search_index(self, queries: Tensor, k: int) -> Tensor:
        if self._index is None:
            self._build_index()
        found = self._index.search(
            np.ascontiguousarray(queries.detach().cpu().numpy()), k)[1]
        return torch.from_numpy(found).to(queries.device)

    def _require_found(self, found: Tensor, k: int) -> None:
        if not found.all():
            raise InputError(
                f'the index "{self.index_factory}" found fewer than {k} '
                f'neighbors; raise `nprobe` (now {self.nprobe}).')

    def _build_index(self) -> None:
        faiss = _faiss()
        if (len(self.index_bytes) and self.index_factory != 'Flat'
                and not _names_a_file(self.index_bytes)):
            index = faiss.deserialize_index(self.index_bytes.cpu().numpy())
        else:
            rows = self.rows.cpu().numpy()
            index = faiss.index_factory(rows.shape[1], self.index_factory)
            index.train(rows)
            index.add(rows)
            if self.index_factory != 'Flat':
                self.index_bytes = torch.from_numpy(
                    faiss.serialize_index(index)).to(self.rows.device)
        for kind, parameter in (('IVF', 'nprobe'), ('HNSW', 'efSearch')):
            if kind in self.index_factory:
                faiss.ParameterSpace().set_index_parameter(
                    index, parameter, self.nprobe)
        # faiss has no graph index on the GPU.
        if (self.rows.is_cuda and 'HNSW' not in self.index_factory
                and faiss.get_num_gpus()):
            index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(),
                                           self.rows.device.index, index)
        self._index = index

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._index = None
        self._sketched = None
        if self.backend == 'torch' and len(self.rows):
            self.norms = squared_norms(self.rows)


def without(number: int, ids: Sequence[int]) -> list[int]:
    """List the numbers below ``number`` except some."""
    return sorted(set(range(number)) - set(ids))


def _names_a_file(index_bytes: Tensor) -> bool:
    """Whether faiss may open another file for this index.

    "ilod" begins inverted lists on the disk, in whichever place. By chance it
    is among the numbers of an index of gigabytes, which is then built again.
    """
    return re.search(b'ilod', index_bytes.cpu().numpy().data) is not None


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            'backend="faiss" needs faiss: pip install faiss-cpu (or a GPU '
            'build), or use backend="torch".') from error
    return faiss
