import threading

import numpy as np
import pytest

from mmad.apis.prepared_image import prepare_batches, score_batch
from mmad.errors import InputError
from mmad.structures import AnomalyDataSample

IMAGES = [np.full((2, 2, 3), n, np.uint8) for n in range(10)]


def pipeline(results):
    value = int(results['given'][0, 0, 0])
    results.get('originals', []).append(results['given'])
    if value == 7:
        raise InputError('seven')
    return dict(inputs=value, data_samples=AnomalyDataSample())


def score(packed):
    if any(one['inputs'] == 3 for one in packed):
        raise InputError('three')
    samples = [one['data_samples'] for one in packed]
    for one, sample in zip(packed, samples):
        sample.pred_score = one['inputs']
    return samples


@pytest.mark.parametrize('batch_size', [1, 2, 3, 4, 20])
@pytest.mark.parametrize('num_workers', [0, 1, 3])
def test_order_and_errors(batch_size, num_workers):
    batches = prepare_batches(
        iter(IMAGES), pipeline, batch_size, False, True, num_workers)
    found = []
    for batch in batches:
        assert len(batch) <= batch_size
        for sample, image in zip(score_batch(batch, score, False), batch):
            found.append(sample.get('error') or int(sample.pred_score))
            assert (image.original == IMAGES[len(found) - 1]).all()
    assert found == [0, 1, 2, 'three', 4, 5, 6, 'image number 7: seven', 8, 9]


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('batch_size', [1, 2, 5, 20])
def test_strict_gives_all_before_the_error(num_workers, batch_size):
    found = []
    batches = prepare_batches(
        iter(IMAGES), pipeline, batch_size, num_workers=num_workers)
    with pytest.raises(InputError, match='image number 7: seven'):
        found.extend(batches)
    found = [image.packed['inputs'] for batch in found for image in batch]
    assert found == list(range(7))
    with pytest.raises(InputError, match='three'):
        score_batch(next(prepare_batches(iter(IMAGES), pipeline, 5)), score)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_bug_is_raised_only_if_strict(num_workers):

    def fail(results):
        raise KeyError('x')

    with pytest.raises(KeyError):
        list(prepare_batches(iter(IMAGES), fail, 2, num_workers=num_workers))
    batch = next(
        prepare_batches(iter(IMAGES), fail, 2, False, num_workers=num_workers))
    for number, image in enumerate(batch):
        assert str(image.error).startswith(f'image number {number}: the pipe')


@pytest.mark.parametrize('num_workers', [0, 3])
def test_reads_ahead_no_more_than_promised(num_workers):
    taken, names = [], set()

    def give():
        for number in range(1000):
            taken.append(number)
            yield IMAGES[0]

    def note(results):
        names.add(threading.current_thread().name)
        return pipeline(results)

    batches = prepare_batches(
        give(), note, batch_size=4, num_workers=num_workers)
    for number in range(3):
        next(batches)
        ahead = 4 + num_workers if num_workers else 0
        assert len(taken) <= 4 * (number + 1) + ahead
    assert (threading.current_thread().name in names) == (num_workers == 0)
    batches.close()
