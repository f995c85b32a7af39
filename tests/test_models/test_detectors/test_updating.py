"""A fit that takes in images later on is one of all images."""
import pytest
import torch
from fitted_parts import EXACT, TINY, OwnDetector, make_spade
from tiny_models import feed

from mmad.errors import InputError
from mmad.models import PaDiM, PatchCore
from mmad.structures import AnomalyDataSample

PADIM = ('padim', 'no_reduction', 'given', 'sum_of_maps', 'fyd')


def data_of(images, ids):
    return dict(
        inputs=images[ids],
        data_samples=[
            AnomalyDataSample(metainfo=dict(sample_idx=i)) for i in ids
        ])


def update(detector, images, new=(), forgotten=(), batch_size=2):
    """Take some of the images into the fit, and others out of it.

    Those to forget are given by pairs of the number in the fit and in
    ``images``.
    """
    ids = [number for number, _ in forgotten]
    detector.begin_update(len(new), batch_size, ids)
    for _ in detector.updated_modules:
        if ids:
            detector.forget(ids,
                            data_of(images, [image for _, image in forgotten]))
        feed(detector, images[list(new)], batch_size)
        detector.end_pass()
    return detector


def assert_alike(detector, expected, images, exactly):
    for one, other in zip(detector(images), expected(images)):
        if exactly:
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', EXACT)
def test_added_images_are_as_if_fitted_at_once(images, fit, name):
    detector = fit(EXACT[name](), images[:4])
    assert detector.num_fitted == 4
    update(detector, images, [4, 5])
    update(detector, images, [6])
    assert detector.num_fitted == 7
    expected = fit(EXACT[name](), images)
    # An index of lists has other lists.
    exactly = name not in (*PADIM, 'ivf')
    assert_alike(detector, expected, images, exactly)
    # Also what is known of each image by itself.
    with detector.leaving_out([5, 0]), expected.leaving_out([5, 0]):
        assert_alike(detector, expected, images[[5, 0]], exactly)


@pytest.mark.parametrize('name', EXACT)
def test_forgotten_images_are_as_if_never_fitted(images, fit, name):
    detector = fit(EXACT[name](), images)
    update(detector, images, forgotten=[(5, 5), (0, 0)])
    rest = [1, 2, 3, 4, 6]
    expected = fit(EXACT[name](), images[rest])
    assert detector.num_fitted == 5
    exactly = name not in (*PADIM, 'ivf')
    if exactly:
        assert_alike(detector, expected, images, exactly=True)
    else:
        for one, other in zip(detector(images), expected(images)):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    # The last one has moved up.
    with detector.leaving_out([4]), expected.leaving_out([4]):
        one, other = (d(images[6:])[0] for d in (detector, expected))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=0)


@pytest.mark.parametrize('name', EXACT)
def test_one_image_takes_the_place_of_another(images, fit, name):
    detector = fit(EXACT[name](), images[:6])
    update(detector, images, new=[6], forgotten=[(2, 2)])
    other = EXACT[name]()
    other.load_state_dict(detector.state_dict())
    expected = fit(EXACT[name](), images[[0, 1, 3, 4, 5, 6]])
    for one, two in zip(other.eval()(images), expected(images)):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_galleries_in_files(images, fit, tmp_path):
    detector = fit(make_spade(gallery_dir=str(tmp_path)), images[:5])
    before = detector.state_dict()
    update(detector, images, [5, 6], [(1, 1)])
    assert_alike(
        detector,
        fit(make_spade(), images[[0, 2, 3, 4, 5, 6]]),
        images,
        exactly=True)
    # The earlier checkpoint still has its own files.
    other = make_spade(gallery_dir=str(tmp_path))
    other.load_state_dict(before)
    assert_alike(
        other.eval(), fit(make_spade(), images[:5]), images, exactly=True)


@pytest.mark.parametrize('projection_dim', [None, 8])
def test_coreset_goes_on_from_the_old_centers(images, fit, projection_dim):

    def make():
        return PatchCore(
            TINY, 0.2, num_neighbors=1, projection_dim=projection_dim)

    def radius(detector):
        return torch.cdist(
            patches, detector.memory_bank.rows.double()).min(1).values.max()

    detector = fit(make(), images[:5])
    old = detector.memory_bank.rows
    update(detector, images, [5, 6])
    bank = detector.memory_bank
    # Of 80 patches of each image.
    assert (len(old), len(bank), bank.num_held) == (80, 112, 560)
    assert torch.equal(bank.rows[:80], old)
    image, position = bank.sources.T
    assert (image[80:] >= 5).all()
    patches = detector.extract(images).flatten(2).mT.flatten(0, 1).double()
    torch.testing.assert_close(bank.rows.double(),
                               patches[image * 80 + position])
    if projection_dim is None:
        chosen = bank.rows[:80].double()
        for row in bank.rows[80:].double():
            distances = torch.cdist(patches[400:], chosen).min(1).values
            torch.testing.assert_close(row, patches[400 + distances.argmax()])
            chosen = torch.cat([chosen, row[None]])
        assert radius(detector) <= 1.1 * radius(fit(make(), images))


def test_principal_components_stay(images, fit):
    detector = fit(PaDiM(TINY, 'pca', 4), images[:5])
    basis = detector.reduction.basis.clone()
    update(detector, images, [5, 6])
    assert torch.equal(detector.reduction.basis, basis)
    assert detector.num_fitted == 7


def test_thresholds_do_not_outlive_an_update(images, fit):
    detector = fit(EXACT['padim'](), images)
    detector.decision.calibrate(torch.ones(3), torch.ones(3), 0.5, 'held_out')
    update(detector, images, [1])
    assert not detector.decision.is_fitted


def test_all_images_forgotten(images, fit):
    detector = fit(EXACT['patchcore'](), images)
    with pytest.raises(InputError, match='all images would be forgotten'):
        detector.begin_update(0, 2, range(7))


def test_too_few_rows_left(images, fit):
    detector = fit(PatchCore(TINY, 0.1, num_neighbors=9), images)
    sources = detector.memory_bank.sources
    most = torch.bincount(sources[:, 0]).argsort(descending=True)[:6].tolist()
    with pytest.raises(InputError, match='fewer than the 9'):
        update(detector, images, forgotten=[(i, i) for i in sorted(most)])


def test_forgetting_what_was_not_fitted(images, fit):
    detector = fit(EXACT['padim'](), images)
    with pytest.raises(InputError, match='not among those fitted'):
        update(detector, images + 100, forgotten=[(0, 0)])


def test_what_is_not_fitted(images):
    with pytest.raises(InputError, match='is not fitted'):
        EXACT['padim']().begin_update(1, 2)


def test_own_modules_take_in_nothing():
    detector = OwnDetector()
    detector.fit_state.finalize()
    with pytest.raises(InputError, match='OwnModule cannot take in images'):
        detector.begin_update(1, 2)
