from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice

import numpy as np

from mmad.errors import InputError, summarize_error
from mmad.structures import AnomalyDataSample

from .images import OneImage, describe_image
from .video import Frame


@dataclass
class PreparedImage:
    """An image after the pipeline, or the reason why it got no further.

    Args:
        info (dict): Metainfo that the sample gets: where the image is from.
        packed (dict, optional): What the pipeline made of it.
        original (np.ndarray, optional): The image before the pipeline,
            ``(H, W, 3)`` uint8 BGR.
        error (InputError, optional): Why there is no ``packed``.
    """

    info: dict = field(default_factory=dict)
    packed: dict | None = None
    original: np.ndarray | None = None
    error: InputError | None = None

    def failed(self) -> AnomalyDataSample:
        """Return the sample of an image that cannot be scored."""
        return AnomalyDataSample(
            metainfo=dict(self.info, error=str(self.error)))


def prepare_batches(images: Iterator[OneImage],
                    pipeline: Callable[[dict], dict],
                    batch_size: int = 1,
                    strict: bool = True,
                    keep: bool = False,
                    num_workers: int = 0) -> Iterator[list[PreparedImage]]:
    """Put images through the pipeline, in batches.

    Args:
        images (Iterator): Images, and frames of videos.
        pipeline (Callable): :class:`~mmad.apis.image_pipeline.ImagePipeline`.
        batch_size (int): Number of images per batch. Defaults to 1.
        strict (bool): Raise the first error, after the images before it.
            Defaults to True.
        keep (bool): Also keep the original images. Defaults to False.
        num_workers (int): Number of threads. With them, up to another batch
            and one image per thread are read ahead. Defaults to 0.

    Yields:
        list[PreparedImage]: Batches, also of images with an error.
    """
    batch: list[PreparedImage] = []
    jobs = _jobs(images, pipeline, strict, keep)
    with ThreadPoolExecutor(num_workers or 1) as pool:
        # Without threads, each job runs when it is taken.
        results = ((job() for job in jobs) if num_workers == 0 else _ahead(
            pool, jobs, batch_size + num_workers))
        for prepared in results:
            if prepared.error is not None and strict:
                if batch:
                    yield batch
                raise prepared.error
            batch.append(prepared)
            if len(batch) == batch_size:
                yield batch
                batch = []
    if batch:
        yield batch


def score_batch(batch: list[PreparedImage],
                score: Callable[[list[dict]], list[AnomalyDataSample]],
                strict: bool = True) -> list[AnomalyDataSample]:
    """Score a batch, and without ``strict`` each image alone if that fails.

    Args:
        batch (list[PreparedImage]): Batch of :func:`prepare_batches`.
        score (Callable): Scores the packed images.
        strict (bool): Raise an error. Defaults to True.

    Returns:
        list[AnomalyDataSample]: A sample for each image, also for one with an
        error.
    """
    packed = [image.packed for image in batch if image.packed is not None]
    try:
        scored = iter(score(packed) if packed else ())
    except InputError as error:
        if strict:
            raise
        if len(batch) > 1:
            return [score_batch([one], score, strict)[0] for one in batch]
        batch[0].error, batch[0].packed = error, None
    samples = []
    for image in batch:
        sample = image.failed() if image.packed is None else next(scored)
        sample.set_metainfo(image.info)
        samples.append(sample)
    return samples


def _ahead(pool: ThreadPoolExecutor, jobs: Iterator[Callable],
           number: int) -> Iterator[PreparedImage]:
    """Run jobs in threads, not more than a number of them ahead."""
    pending = deque(pool.submit(job) for job in islice(jobs, number))
    while pending:
        done = pending.popleft()
        pending.extend(pool.submit(job) for job in islice(jobs, 1))
        yield done.result()


def _jobs(images: Iterator[OneImage], pipeline: Callable[[dict], dict],
          strict: bool, keep: bool) -> Iterator[Callable[[], PreparedImage]]:
    for number in count():
        try:
            image = next(images)
        except StopIteration:
            return
        # A video ended too soon, or the camera is gone.
        except InputError as error:
            yield partial(PreparedImage, error=error)
        else:
            yield partial(_prepare, image, number, pipeline, strict, keep)


def _prepare(image: OneImage, number: int, pipeline: Callable, strict: bool,
             keep: bool) -> PreparedImage:
    prepared = PreparedImage()
    originals: list[np.ndarray] = []
    try:
        results = describe_image(image, number)
        if isinstance(image, Frame):
            prepared.info = dict(
                img_path=image.source, frame_index=image.index)
        elif 'img_path' in results:
            prepared.info = dict(img_path=results['img_path'])
        if keep:
            results['originals'] = originals
        prepared.packed = pipeline(results)
    except InputError as error:
        prepared.error = error
    # What a trusted config raises is a bug, but the other images count.
    except Exception as error:
        if strict:
            raise
        prepared.error = InputError('the pipeline refuses the image '
                                    f'({summarize_error(error)}).')
        prepared.error.__cause__ = error
    where = prepared.info.get('img_path', f'image number {number}')
    if prepared.error is not None and where not in str(prepared.error):
        # The message of a step may have no path.
        cause, prepared.error = prepared.error, InputError(
            f'{where}: {prepared.error}')
        prepared.error.__cause__ = cause
    if originals:
        prepared.original = _to_color(originals[0])
    return prepared


def _to_color(image: np.ndarray) -> np.ndarray:
    """Return an image as a step loaded it as BGR, for drawings."""
    if image.dtype != np.uint8:
        image = image.clip(0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = image[..., None]
    return (image[..., :3] if image.shape[2] >= 3 else np.repeat(
        image[..., :1], 3, axis=2))
