"""The test pipeline of a config, for images without labels."""
from collections.abc import Iterator, Mapping, Sequence

from mmcv.transforms import Compose, LoadAnnotations, LoadImageFromFile

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.registry import TRANSFORMS

from .load_given import LoadGiven


def find_pipeline(config: Mapping, origin: str) -> list | None:
    """Find the test pipeline of a config, also inside data set wrappers.

    Args:
        config (Mapping): The whole config.
        origin (str): Where the config comes from, for the message.

    Returns:
        list | None: Configs of the transforms; None if there is no pipeline.

    Raises:
        InputError: If there are several pipelines that differ, or one behind
            the other.
    """
    loader = config.get('test_dataloader')
    if not isinstance(loader, Mapping):
        return None
    found = list(_pipelines(loader.get('dataset'), origin))
    if any(pipeline != found[0] for pipeline in found):
        raise InputError(
            f'the config {origin} has a `test_dataloader` of several data '
            'sets whose pipelines differ; give a config with only one of '
            'them.')
    return found[0] if found else None


def require_pipeline(config: Mapping, origin: str) -> list:
    """Return the test pipeline of a config, as :func:`find_pipeline` does.

    Raises:
        InputError: If there is none.
    """
    steps = find_pipeline(config, origin)
    if steps is None:
        raise InputError(
            f'the config {origin} has no test pipeline '
            '(`test_dataloader.dataset.pipeline`); give a config that has one '
            'with `config=`.')
    return steps


def _pipelines(dataset: object, origin: str) -> Iterator[list]:
    if isinstance(dataset, list | tuple):
        for part in dataset:
            yield from _pipelines(part, origin)
    elif isinstance(dataset, Mapping):
        inner = [
            steps for key in ('dataset', 'datasets')
            for steps in _pipelines(dataset.get(key), origin)
        ]
        own = dataset.get('pipeline')
        if own and any(inner):
            raise InputError(
                f'the config {origin} has a `test_dataloader` with a pipeline '
                'behind that of an inner data set; give a config with both '
                'in one pipeline.')
        if isinstance(own, list | tuple) and not any(inner):
            yield list(own)
        else:
            yield from inner


class ImagePipeline:
    """The test pipeline for images without labels, from files or arrays.

    Steps are recognized by their class, wherever they stand, also inside
    wrappers. Those that load masks are removed. Those that load images, which
    are subclasses of MMCV's ``LoadImageFromFile`` and other classes whose
    name begins with ``LoadImage``, take arrays as well. If there are none,
    since the data set provides the pixels, a
    :class:`~mmad.datasets.transforms.LoadImage` is put first.

    Args:
        steps (Sequence[dict]): Configs of the transforms.

    Raises:
        InputError: If a step is not registered or has wrong arguments.
    """

    def __init__(self, steps: Sequence[dict]) -> None:
        try:
            adapted, loads = _adapt(steps)
            if not loads:
                adapted = [LoadGiven(LoadImage()), *adapted]
            self._steps = Compose(adapted)
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
            results (dict): Dict with ``img_path``, or with ``given``, an
                array ``(H, W, 3)`` uint8 in BGR order; and with a list
                ``originals`` if the image as it was loaded shall be appended
                to it.

        Returns:
            dict: Dict with ``inputs`` and ``data_samples``.

        Raises:
            InputError: If the steps make no input for the model.
        """
        packed = self._steps(results)
        if packed is None or 'inputs' not in packed:
            raise InputError('the test pipeline makes no input for the model; '
                             'its last step must be PackInputs.')
        return packed


def _adapt(steps: Sequence) -> tuple[list, bool]:
    """Adapt the steps, and tell whether one of them loads images."""
    adapted, loads = [], False
    for step in steps:
        if isinstance(step, list | tuple):
            step, inner_loads = _adapt(step)
            loads |= inner_loads
        else:
            kind = _class_of(step) if isinstance(step, Mapping) else type(step)
            if issubclass(kind, LoadMask | LoadAnnotations):
                continue
            if (issubclass(kind, LoadImageFromFile)
                    or kind.__name__.startswith('LoadImage')):
                step = LoadGiven(
                    TRANSFORMS.build(step) if isinstance(step, Mapping
                                                         ) else step)
                loads = True
            elif isinstance(step, Mapping):
                inner = step.get('transforms')
                if isinstance(inner, Mapping):
                    inner = [inner]
                if isinstance(inner, list | tuple):
                    inner, inner_loads = _adapt(inner)
                    step = dict(step, transforms=inner)
                    loads |= inner_loads
        adapted.append(step)
    return adapted, loads


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
