from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, strided

from mmad.errors import InputError


class FittedModule(nn.Module):
    """Base class of modules that learn in one pass, without gradients.

    The contract follows scikit-learn: :meth:`reset` forgets, :meth:`update`
    takes in the features of new images, :meth:`finalize` turns what all
    processes took in into buffers, and ``forward`` scores or transforms
    features with these. A fit sees to it that :meth:`update` gets each image
    of the training set once, in the process that loaded it, with finite
    features.

    What is learned lives in buffers that :meth:`register_fitted` declares.
    They are empty before a fit, and their shapes come with a state dict.

    Attributes:
        num_images (int): Number of images in the training set, over all
            processes. A fit sets it before :meth:`reset`.
        needs_pass (bool): Whether a fit shall go over the images for this
            module. Without one, only :meth:`reset` is called.
        is_required (bool): Whether a model cannot predict without it.
            Defaults to True.
        images_before_training (int): Number of training images, evenly
            drawn, that the module is fitted to before a training by gradients
            that builds on it. Defaults to 0: it is fitted after a training.
        needs_update (bool): Whether images that are added to a fit change it.
            Defaults to True; if not, it stays as it was fitted.
        forgets_features (bool): Whether :meth:`forget` needs the features of
            the images. Defaults to False.
        can_leave_out (bool): Whether ``forward`` heeds :attr:`left_out`.
            Defaults to False.
        prepares_leaving_out (bool): Whether a fit does what only images that
            are left out need, if anything. Defaults to True.
        progress_is_whole (bool): Whether each :meth:`progress_state` holds
            all that was taken in, however many images are asked for. Defaults
            to False.
        on_progress (Callable, optional): Is called from time to time in a
            long :meth:`finalize`, in all processes alike, when there is more
            to tell by :meth:`progress_state`. Defaults to None.
        left_out (Sequence[int], optional): Numbers of the images whose
            features ``forward`` gets, one for each. It scores each as if the
            image had not been in the fit. None, as by default: as they are.
    """

    num_images = 0
    needs_pass = True
    is_required = True
    images_before_training = 0
    needs_update = True
    forgets_features = False
    can_leave_out = False
    prepares_leaving_out = True
    progress_is_whole = False
    on_progress: Callable[[], None] | None = None
    left_out: Sequence[int] | None = None

    def __init__(self) -> None:
        super().__init__()
        self._fitted_names: list[str] = []

    def register_fitted(self,
                        name: str,
                        ndim: int = 1,
                        dtype: torch.dtype = torch.float32) -> None:
        """Declare a buffer whose values, and shape, a fit finds.

        Args:
            name (str): Name of the buffer.
            ndim (int): Number of its dimensions. Defaults to 1.
            dtype (torch.dtype): Its data type. Defaults to float32.
        """
        self.register_buffer(name, torch.empty((0, ) * ndim, dtype=dtype))
        self._fitted_names.append(name)

    @property
    def is_fitted(self) -> bool:
        """Whether there is something to score with."""
        own = all(
            getattr(self, name).numel() > 0 for name in self._fitted_names)
        return own and all(part.is_fitted for _, part in self._parts())

    def reset(self) -> None:
        """Forget an earlier fit."""
        for name in self._fitted_names:
            buffer = getattr(self, name)
            setattr(self, name, buffer.new_empty((0, ) * buffer.ndim))

    def update(self, features: Any, ids: list[int]) -> None:
        """Take in the features of new images.

        A subclass for detectors that take borders has a third argument, the
        mask ``inside`` of the pixels that show the images.

        Args:
            features (Any): A tensor ``(B, ...)``, one row for each image, or
                a sequence of several.
            ids (list[int]): Numbers of the images in the training set.
        """
        raise NotImplementedError

    def finalize(self) -> None:
        """Turn what all processes took in into the buffers."""
        raise NotImplementedError

    @property
    def tells_progress(self) -> bool:
        """Whether a fit can go on from what :meth:`progress_state` tells.

        It is not said to where a subclass has an :meth:`update` of its own
        only, which may take in more.
        """
        teller = next(
            cls for cls in type(self).__mro__
            if 'update' in vars(cls) or 'progress_state' in vars(cls))
        return (teller is not FittedModule and 'progress_state' in vars(teller)
                and all(part.tells_progress for _, part in self._parts()))

    def _parts(self) -> list[tuple[str, 'FittedModule']]:
        return [(name, child) for name, child in self.named_children()
                if isinstance(child, FittedModule)]

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        """Tell what this process has taken in, for a fit to go on from.

        It may be asked for between two images, and in :attr:`on_progress`.
        Without it, an interrupted fit begins anew.

        Args:
            ids (list[int]): Numbers of the images that are not told of yet.
                If there are none, it tells what belongs to no image, which
                takes the place of what it told so before.

        Returns:
            dict[str, Tensor]: Tensors that are no parts of larger ones, on any
            device.
        """
        raise NotImplementedError

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        """Take in what :meth:`progress_state` told.

        It follows :meth:`reset`, with as many processes as there were then,
        once for each state, in their order. All goes on as it would have
        then, bit for bit.

        Args:
            state (dict[str, Tensor]): A state, on the CPU.
        """
        raise NotImplementedError

    def describe_progress(self) -> str:
        """Say how far :meth:`finalize` has come, in words, if it is long."""
        return ''

    def _progress_of_parts(self, ids: list[int]) -> dict[str, Tensor]:
        return {
            f'{name}.{key}': value
            for name, part in self._parts()
            for key, value in part.progress_state(ids).items()
        }

    def _load_progress_of_parts(self, state: dict[str, Tensor]) -> None:
        for name, part in self._parts():
            prefix = f'{name}.'
            part.load_progress_state({
                key.removeprefix(prefix): value
                for key, value in state.items() if key.startswith(prefix)
            })

    @property
    def num_fitted(self) -> int:
        """Number of images that it is fitted to, over all processes.

        Raises:
            InputError: The fit cannot be taken up.
        """
        raise InputError(
            f'the {type(self).__name__} cannot take in images after a fit; '
            'fit again with all of them.')

    def reopen(self) -> None:
        """Take up an earlier fit, to take images out of it or to add some.

        It takes the place of :meth:`reset`, in a single process.
        :meth:`forget` may follow, then :meth:`update` with new images, whose
        numbers come after those of the others, and :meth:`finalize`.
        ``num_images`` is then the number of images that there will be.
        """
        raise NotImplementedError

    def forget(self, ids: list[int], features: Any = None) -> None:
        """Take images out of the reopened fit.

        The images behind them move up in number.

        Args:
            ids (list[int]): Their numbers.
            features (Any): As in :meth:`update`, if ``forgets_features``.
                Defaults to None.
        """
        raise NotImplementedError

    def end_calibration(self) -> None:
        """Forget what only images that are left out have needed."""

    def summary(self) -> str:
        """Say in a sentence what a fit before a training has found."""
        return f'{type(self).__name__} is fitted.'

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        for name, buffer in list(self.named_buffers(recurse=False)):
            stored = state_dict.get(prefix + name)
            if stored is None:
                continue
            if not _is_alike(stored, buffer):
                raise InputError(
                    f'the tensor "{prefix}{name}" of the checkpoint is not '
                    f'one of type {buffer.dtype} as a fit writes it, or not '
                    'of its dimensions; it is damaged or of another model: '
                    'fit again.')
            if stored.shape != buffer.shape:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _is_alike(stored: object, buffer: Tensor) -> bool:
    return (isinstance(stored, Tensor) and not stored.is_nested
            and stored.layout == strided and not stored.is_meta
            and not stored.is_quantized
            # An empty vector may stand for anything that is to come.
            and (stored.ndim == buffer.ndim or buffer.shape == (0, )) and
            stored.is_complex() == buffer.is_complex() and
            stored.is_floating_point() == buffer.is_floating_point()
            # Expanded, a number would fill the memory.
            and stored.nbytes <= stored.untyped_storage().nbytes())
