"""The test pipeline of a config, for images without labels."""
from collections.abc import Iterator, Mapping, Sequence

from mmcv.transforms import Compose, LoadImageFromFile

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.registry import TRANSFORMS


def find_pipeline(config: Mapping, origin: str) -> list | None:
    """Find the pipeline of a config's test data, also inside wrappers.

    Args:
        config (Mapping): The whole config.
        origin (str): Where it is from, for the message.

    Returns:
        list | None: None if there is none.

    Raises:
        InputError: There are several, and they differ.
    """
    loader = config.get('test_dataloader')
    if not isinstance(loader, Mapping):
        return None
    found = list(_pipelines(loader.get('dataset')))
    if any(pipeline != found[0] for pipeline in found):
        raise InputError(
            f'the config {origin} has a `test_dataloader` of several data '
            'sets whose pipelines differ; give a config with the one that '
            'is meant.')
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
    """A test pipeline without labels, for files as well as for arrays.

    Steps are told by their class, wherever they stand, in wrappers too:
    :class:`~mmad.datasets.transforms.LoadMask` is left out; what loads the
    image is left out for arrays. Where nothing loads it, since the data set
    does, :class:`~mmad.datasets.transforms.LoadImage` comes first for files.

    Args:
        steps (Sequence[dict]): Configs of the transforms.

    Raises:
        InputError: A step is not registered or has wrong arguments.
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
        # Each step checks its arguments in its own way, mmcv's by assertions.
        except Exception as error:
            raise InputError(
                f'the test pipeline cannot be built ({type(error).__name__}: '
                f'{error}); correct it and give it with `config=`.') from error

    def __call__(self, results: dict) -> dict:
        """Transform one image.

        Args:
            results (dict): ``img_path``; or ``img``, ``img_shape`` and
                ``ori_shape``.

        Returns:
            dict: ``inputs`` and ``data_samples``.

        Raises:
            InputError: The steps end without an input for the model.
        """
        steps = self._for_arrays if 'img' in results else self._for_files
        packed = steps(results)
        if packed is None or 'inputs' not in packed:
            raise InputError('the test pipeline makes no input for the model; '
                             'its last step must be PackInputs.')
        return packed


def _without(steps: Sequence, kind: type) -> list:
    """Leave out the steps of a class, at every depth."""
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
        except RuntimeError:  # so MMEngine says that a dotted name is unknown
            kind = None
    if kind is None:
        raise InputError(
            f'the test pipeline has a step of the type {step.get("type")!r}, '
            'which is not registered; mind the spelling, or name the module '
            'that defines it with `modules=`.')
    return kind if isinstance(kind, type) else type(kind)
