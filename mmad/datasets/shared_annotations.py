import pickle
from multiprocessing.context import get_spawning_popen

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch import Tensor

_ARRAYS = ('data_bytes', 'data_address')


class SharedAnnotations(BaseDataset):
    """Data set whose annotations worker processes share.

    MMEngine keeps the annotations in two arrays, which workers that are
    forked share. Here, workers that are spawned do so too: they get the
    arrays by their place in shared memory, to which they are moved when the
    first worker is spawned. It takes as much of ``/dev/shm`` as the arrays.
    """

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        # In MMEngine, all annotations and an array for each of them are in
        # memory at once. Here, each gives way to its bytes.
        content = bytearray()
        ends = np.empty(len(self.data_list), dtype=np.int64)
        self.data_list.reverse()
        for number in range(len(ends)):
            content += pickle.dumps(self.data_list.pop(), protocol=4)
            ends[number] = len(content)
        return np.frombuffer(content, dtype=np.uint8), ends

    def _copy_without_annotation(self,
                                 memo: dict | None = None) -> BaseDataset:
        # MMEngine's default is one dict for all calls. It knows objects by
        # their address, which another one has when the first is gone.
        return super()._copy_without_annotation({} if memo is None else memo)

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        if get_spawning_popen() is None:
            return state
        for name in _ARRAYS:
            array = state.get(name)
            if isinstance(array, np.ndarray) and array.size:
                state[name] = self._to_tensor(name, array)
        return state

    def __setstate__(self, state: dict) -> None:
        for name in _ARRAYS:
            if isinstance(state.get(name), Tensor):
                state[name] = state[name].numpy()
        self.__dict__.update(state)

    def _to_tensor(self, name: str, array: np.ndarray) -> Tensor:
        # Pickling moves a tensor, not an array, to shared memory for good.
        tensor = self.__dict__.get(f'_shared_{name}')
        if tensor is None or tensor.data_ptr() != array.ctypes.data:
            tensor = torch.from_numpy(array.copy()).share_memory_()
            self.__dict__[f'_shared_{name}'] = tensor
            self.__dict__[name] = tensor.numpy()
        return tensor
