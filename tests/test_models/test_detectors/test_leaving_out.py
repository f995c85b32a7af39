"""An image that is left out is scored as after a fit without it."""
import pytest
import torch

from mmad.errors import InputError
from mmad.models import FYD, SPADE, FitDetector, PaDiM, PatchCore
from mmad.models.layers import FittedModule
from mmad.structures import AnomalyDataSample

TINY = dict(type='TinyBackbone')


def make_spade(**kwargs):
    return SPADE(
        TINY,
        image_stage='layer3',
        pyramid_stages=('layer2', 'layer3'),
        num_neighbors=3,
        **kwargs)


EXACT = dict(
    patchcore=lambda: PatchCore(TINY, coreset_ratio=1, num_neighbors=3),
    one_neighbor=lambda: PatchCore(TINY, coreset_ratio=1, num_neighbors=1),
    faiss=lambda: PatchCore(
        TINY,
        coreset_ratio=1,
        num_neighbors=3,
        memory_bank=dict(backend='faiss')),
    ivf=lambda: PatchCore(
        TINY,
        coreset_ratio=1,
        num_neighbors=3,
        memory_bank=dict(backend='faiss', index='IVF4,Flat', nprobe=4)),
    spade=make_spade,
    all_images=lambda: make_spade(gallery='all', num_pixel_neighbors=5),
    per_level=lambda: make_spade(fusion='per_level'),
    fp16=lambda: make_spade(gallery_dtype='float16'),
    padim=lambda: PaDiM(TINY, dim=4, epsilon=0.1),
    no_reduction=lambda: PaDiM(TINY, 'none', None, epsilon=1),
    fyd=lambda: FYD(dict(type='SteppedBackbone'), dim=4, epsilon=0.1),
)


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


class OwnModule(FittedModule):
    pass


class OwnDetector(FitDetector):

    def __init__(self):
        super().__init__()
        self.module = OwnModule()

    def extract(self, inputs):
        return inputs

    def score(self, inputs):
        return inputs.flatten(1).amax(1), inputs[:, :1]


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
