import pytest
import torch
from conftest import feed
from torch import nn

from mmad.errors import InputError
from mmad.models import FitDetector


class MeanColor(FitDetector):
    """The smallest detector: it remembers each image's mean."""

    def __init__(self, stride=2):
        super().__init__()
        self.stride = stride
        self.register_buffer('state', torch.zeros(3))

    def begin_fit(self, num_images, batch_size):
        super().begin_fit(num_images, batch_size)
        self.batches, self.ids, self.sums = [], [], []

    def extract(self, inputs):
        self.batches.append(len(inputs))
        return inputs[..., ::self.stride, ::self.stride]

    def collect(self, features, sample_ids):
        self.ids += sample_ids
        self.sums += list(features.mean((2, 3)))

    def estimate(self):
        self.state = torch.stack(self.sums).mean(0)

    def signature(self):
        return dict(detector='MeanColor', stride=self.stride)

    def score(self, inputs):
        self.require_fitted()
        maps = (inputs - self.state[:, None, None]).abs().mean(
            1, keepdim=True)
        return maps.amax((1, 2, 3)), maps


class Spread(MeanColor):
    """In two passes: the mean, then the mean distance from it."""

    num_passes = 2

    def __init__(self):
        super().__init__()
        self.register_buffer('spread', torch.zeros(3))

    def begin_fit(self, num_images, batch_size):
        super().begin_fit(num_images, batch_size)
        self.has_mean = False

    def collect(self, features, sample_ids):
        if self.has_mean:
            features = (features - self.state[:, None, None]).abs()
        super().collect(features, sample_ids)

    def estimate(self):
        if self.has_mean:
            self.spread = torch.stack(self.sums).mean(0)
        else:
            super().estimate()
            self.has_mean, self.ids, self.sums = True, [], []


@pytest.mark.parametrize('batch_size', [1, 2, 3, 7, 10])
def test_every_image_is_collected_once(images, fit, batch_size):
    detector = fit(MeanColor(), images, batch_size)
    assert detector.ids == list(range(7))
    # The last group is filled up.
    size, = set(detector.batches)
    assert size <= 8
    assert batch_size % size == 0
    torch.testing.assert_close(
        detector.state, images[..., ::2, ::2].mean((0, 2, 3)))


@pytest.mark.parametrize('batch_size', [2, 7])
def test_two_passes(images, batch_size):
    detector = Spread()
    for _ in range(2):
        detector.begin_fit(7, batch_size)
        for is_last in (False, True):
            feed(detector, images, batch_size)
            assert detector.ids == list(range(7))
            assert not detector.is_fitted
            detector.fit()
            assert detector.is_fitted == is_last
    pixels = images[..., ::2, ::2]
    mean = pixels.mean((0, 2, 3), keepdim=True)
    torch.testing.assert_close(
        detector.spread, (pixels - mean).abs().mean((0, 2, 3)))


def test_each_pass_needs_every_image(images):
    detector = Spread()
    detector.begin_fit(7, 2)
    feed(detector, images, 2)
    detector.fit()
    feed(detector, images[:6], 2)
    with pytest.raises(InputError, match='collected 6 of 7 training images'):
        detector.fit()
    assert not detector.is_fitted


def test_a_pass_that_is_over_is_no_state(images):
    detector = Spread()
    detector.begin_fit(7, 2)
    feed(detector, images, 2)
    detector.fit()
    with pytest.raises(InputError, match='no fitted state'):
        Spread().load_state_dict(detector.state_dict())


def test_no_gradients(images):
    detector = MeanColor()
    detector.scale = nn.Parameter(torch.ones(()))
    detector.begin_fit(7, 2)
    feed(detector, images * detector.scale, 2)
    assert not any(value.requires_grad for value in detector.sums)


def test_unfitted(images):
    with pytest.raises(InputError, match='MeanColor is not fitted'):
        MeanColor()(images)


def test_incomplete_fit(images):
    detector = MeanColor()
    detector.begin_fit(7, 2)
    feed(detector, images[:6], 2)
    with pytest.raises(InputError, match='collected 6 of 7 training images'):
        detector.fit()
    assert not detector.is_fitted


def test_images_beyond_the_data_set_are_padding(images):
    detector = MeanColor()
    detector.begin_fit(5, 2)
    feed(detector, images, 2)
    assert detector.ids == [0, 1, 2, 3, 4]


def test_fitting_again_forgets(images, fit):
    detector = fit(MeanColor(), images)
    first = detector.state
    detector.begin_fit(3, 1)
    assert not detector.is_fitted
    feed(detector, images[:3], 1)
    detector.fit()
    assert detector.ids == [0, 1, 2]
    assert not torch.equal(detector.state, first)


def test_non_finite_features_name_the_image(images):
    images[3, 0, 4, 4] = torch.inf
    detector = MeanColor()
    detector.begin_fit(7, 2)
    with pytest.raises(InputError, match=r'"image_3\.png" has non-finite'):
        feed(detector, images, 2)


def test_state_dict_round_trip(images, fit):
    detector = fit(MeanColor(), images)
    other = MeanColor()
    other.load_state_dict(detector.state_dict(), strict=True)
    assert other.is_fitted
    assert torch.equal(other(images)[1], detector(images)[1])


@pytest.mark.parametrize('strict', [True, False])
def test_signature_must_agree(images, fit, strict):
    state = fit(MeanColor(), images).state_dict()
    other = MeanColor(stride=4)
    with pytest.raises(InputError, match='made with stride 2 instead of 4'):
        other.load_state_dict(state, strict=strict)
    assert not other.is_fitted
    assert other.state.eq(0).all()


@pytest.mark.parametrize('state', [{}, MeanColor().state_dict()])
def test_unfitted_state(state):
    with pytest.raises(InputError, match='no fitted state'):
        MeanColor().load_state_dict(state, strict=False)


def test_equal_numbers(images):
    detector = MeanColor()
    detector.begin_fit(7, 2)
    feed(detector, images, 2, order=[0, 1, 2, 2, 4, 5, 6])
    with pytest.raises(InputError, match='have the same `sample_idx`'):
        detector.fit()
    assert not detector.is_fitted


def test_numbers_beyond_the_data_set(images):
    detector = MeanColor()
    detector.begin_fit(6, 2)
    with pytest.raises(InputError, match='`sample_idx` 6, but there are 6'):
        feed(detector, images, 2, order=[0, 6])
