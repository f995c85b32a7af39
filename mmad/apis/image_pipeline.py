"""The test pipeline of a config, for images without labels."""
from collections.abc import Iterator, Mapping, Sequence

from mmcv.transforms import Compose, LoadImageFromFile

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.registry import TRANSFORMS


def find_pipeline(config: Mapping, origin: str) -> list | None:
    """Find the test pipeline of a config, also inside data set wrappers.

    Args:
        config (Mapping): The whole config.
        origin (str): Where the config comes from, for the message.

    Returns:
        list | None: Configs of the transforms; None if there is no pipeline.

    Raises:
        InputError: If there are several pipelines that differ.
    """
    loader = config.get('test_dataloader')
    if not isinstance(loader, Mapping):
        return None
    found = list(_pipelines(loader.get('dataset')))
    if any(pipeline != found[0] for pipeline in found):
        raise InputError(
            f'the config {origin} has a `test_dataloader` of several data '
            'sets whose pipelines differ; give a config with only one of '
            'them.')
    return found[0] if found else None


def _pipelines(dataset: object) -> Iterator[list]:
    if isinstance(dataset, list | tuple):
        for part in dataset:
            yield from _pipelines(part)
    elif isinstance(dataset, Mapping):
        if isinstance(dataset.get('pipeline'), list | tuple):
            yield list(dataset['pipeline'])
        else:
            for key in ('dataset', 'datasets'):
                yield from _pipelines(dataset.get(key))


class ImagePipeline:
    """The test pipeline for images without labels, from files or arrays.

    The steps of :class:`~mmad.datasets.transforms.LoadMask` are removed, also
    inside wrappers. For arrays, the steps that load images are removed as
    well. If no step loads images, since the data set does so, a
    :class:`~mmad.datasets.transforms.LoadImage` is added for files.

    Args:
        steps (Sequence[dict]): Configs of the transforms.

    Raises:
        InputError: If a step is not registered or has wrong arguments.
    """

    def __init__(self, steps: Sequence[dict]) -> None:
        for_files = _without(steps, LoadMask)
        for_arrays = _without(for_files, LoadImageFromFile)
        if for_files == for_arrays:
            for_files = [dict(type=LoadImage), *for_files]
        try:
            self._for_files = Compose(for_files)
            self._for_arrays = Compose(for_arrays)
        except InputError:
            raise
        # Each step checks its arguments in its own way; those of MMCV use
        # assertions.
        except Exception as error:
            raise InputError(
                f'the test pipeline cannot be built ({type(error).__name__}: '
                f'{error}); correct it and give it with `config=`.') from error

    def __call__(self, results: dict) -> dict:
        """Transform one image.

        Args:
            results (dict): Dict with ``img_path``, or with ``img``,
                ``img_shape`` and ``ori_shape``.

        Returns:
            dict: Dict with ``inputs`` and ``data_samples``.

        Raises:
            InputError: If the steps make no input for the model.
        """
        steps = self._for_arrays if 'img' in results else self._for_files
        packed = steps(results)
        if packed is None or 'inputs' not in packed:
            raise InputError('the test pipeline makes no input for the model; '
                             'its last step must be PackInputs.')
        return packed


def _without(steps: Sequence, kind: type) -> list:
    """Remove the steps of a class, at any depth of nesting."""
    kept = []
    for step in steps:
        if isinstance(step, list | tuple):
            kept.append(_without(step, kind))
        elif not isinstance(step, Mapping):
            kept.append(step)
        elif not issubclass(_class_of(step), kind):
            inner = step.get('transforms')
            if isinstance(inner, Mapping):
                inner = [inner]
            if isinstance(inner, list | tuple):
                step = dict(step, transforms=_without(inner, kind))
            kept.append(step)
    return kept


def _class_of(step: Mapping) -> type:
    kind = step.get('type')
    if isinstance(kind, str):
        try:
            kind = TRANSFORMS.get(kind)
        except RuntimeError:  # MMEngine does not know a name with a dot
            kind = None
    if kind is None:
        raise InputError(
            f'the test pipeline has a step of the type {step.get("type")!r}, '
            'which is not registered; check the spelling, or name the module '
            'that defines it with `modules=`.')
    return kind if isinstance(kind, type) else type(kind)
