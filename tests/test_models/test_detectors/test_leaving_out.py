"""An image that is left out is scored as after a fit without it."""
import pytest
import torch
from fitted_parts import EXACT, TINY, OwnDetector, make_spade

from mmad.errors import InputError
from mmad.models import PaDiM, PatchCore
from mmad.structures import AnomalyDataSample


@pytest.mark.parametrize('name', EXACT)
def test_left_out_is_a_fit_without_the_image(images, fit, name):
    detector = fit(EXACT[name](), images)
    assert detector.can_leave_out
    before = detector(images)
    ids = [6, 0, 3]
    with detector.leaving_out(ids):
        scores, maps = detector(images[ids])
    for image, score, anomaly_map in zip(ids, scores, maps):
        rest = torch.cat([images[:image], images[image + 1:]])
        expected = fit(EXACT[name](), rest)(images[image:image + 1])
        torch.testing.assert_close(score, expected[0][0], rtol=1e-3, atol=0)
        torch.testing.assert_close(
            anomaly_map, expected[1][0], rtol=1e-3, atol=1e-5)
        assert score > before[0][image] * 1.01
    # And all is as it was.
    for one, other in zip(detector(images), before):
        assert torch.equal(one, other)


@pytest.mark.parametrize('name', EXACT)
def test_images_of_a_batch_do_not_matter_to_each_other(images, fit, name):
    detector = fit(EXACT[name](), images)
    ids = [4, 2, 5]
    with detector.leaving_out(ids):
        together = detector(images[ids])
    for i, image in enumerate(ids):
        with detector.leaving_out([image]):
            alone = detector(images[image:image + 1])
        for one, other in zip(together, alone):
            torch.testing.assert_close(one[i], other[0], rtol=1e-4, atol=1e-5)


def in_letterboxes(images, borders):
    """Images with a border of rows above and below, as a batch of data."""
    samples = [
        AnomalyDataSample(
            metainfo=dict(
                sample_idx=i,
                img_path=f'{i}.png',
                crop_offset=(-border, 0),
                resized_shape=(32 - 2 * border, 40)))
        for i, border in enumerate(borders)
    ]
    return dict(inputs=images, data_samples=samples)


def fit_in_letterboxes(images, borders):
    detector = EXACT['patchcore']()
    detector.begin_fit(len(images), len(images))
    detector.fit_step(in_letterboxes(images, borders))
    detector.end_pass()
    return detector.eval()


@torch.no_grad()
def test_borders_of_letterboxes(images):
    borders = [8, 0, 5, 3, 0, 8, 1]
    detector = fit_in_letterboxes(images, borders)
    data = in_letterboxes(images, borders)
    with detector.leaving_out(range(7)):
        found = detector.predict(**data)
    for image, sample in enumerate(found):
        rest = [i for i in range(7) if i != image]
        refitted = fit_in_letterboxes(images[rest], [borders[i] for i in rest])
        expected = refitted.predict(
            images[image:image + 1],
            in_letterboxes(images, borders)['data_samples'][image:image + 1])
        torch.testing.assert_close(sample.pred_score, expected[0].pred_score)
        torch.testing.assert_close(
            sample.pred_map,
            expected[0].pred_map,
            rtol=1e-4,
            atol=1e-4,
            equal_nan=True)


def test_a_coreset_only_lacks_rows_of_others(images, fit):
    # The rows that a fit without the image would have in their place.
    detector = fit(PatchCore(TINY, coreset_ratio=0.5, num_neighbors=1), images)
    everything = fit(EXACT['one_neighbor'](), images)
    ids = range(7)
    with detector.leaving_out(ids), everything.leaving_out(ids):
        scores, exact = detector(images)[0], everything(images)[0]
    assert (scores >= exact).all()
    assert (scores > exact).any()


@pytest.mark.parametrize('dim', [4, 16])
def test_components_stay_those_of_all_images(images, fit, dim):
    detector = fit(PaDiM(TINY, 'pca', dim, epsilon=1), images)
    with detector.leaving_out([2]):
        score = detector(images[2:3])[0]
    rest = fit(
        PaDiM(TINY, 'pca', dim, epsilon=1), torch.cat([images[:2],
                                                       images[3:]]))
    expected = rest(images[2:3])[0]
    # With all of them, no distance depends on the axes.
    torch.testing.assert_close(
        score, expected, rtol=1e-3 if dim == 16 else 0.2, atol=0)


def test_own_modules_leave_out_nothing(images):
    detector = OwnDetector()
    assert not detector.can_leave_out
    with (pytest.raises(InputError, match='OwnDetector cannot score an image'),
          detector.leaving_out([0])):
        pass


def test_an_error_leaves_nothing_behind(images, fit):
    detector = fit(make_spade(), images)
    before = detector(images)
    with pytest.raises(KeyError), detector.leaving_out(range(7)):
        raise KeyError
    for one, other in zip(detector(images), before):
        assert torch.equal(one, other)
