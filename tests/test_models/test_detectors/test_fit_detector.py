import pytest
import torch
from tiny_models import feed
from torch import nn

from mmad.errors import InputError
from mmad.models import FitDetector
from mmad.models.layers import FittedModule
from mmad.structures import AnomalyDataSample


class Mean(FittedModule):
    """Remembers each image's mean, and averages them."""

    def __init__(self):
        super().__init__()
        self.register_fitted('state')

    def reset(self):
        super().reset()
        self.ids, self.sums = [], []

    def update(self, features, ids):
        self.ids += ids
        self.sums += list(features.mean((2, 3)))

    def finalize(self):
        self.state = torch.stack(self.sums).mean(0)


class MeanColor(FitDetector):
    """The smallest detector: the distance from the mean color."""

    def __init__(self, stride=2):
        super().__init__()
        self.stride = stride
        self.mean = Mean()
        self.batches = []

    def extract(self, inputs):
        self.batches.append(len(inputs))
        return inputs[..., ::self.stride, ::self.stride]

    def fingerprint(self):
        return dict(super().fingerprint(), stride=self.stride)

    def score(self, inputs):
        self.require_fitted()
        maps = (inputs - self.mean.state[:, None, None]).abs().mean(
            1, keepdim=True)
        return maps.amax((1, 2, 3)), maps


class Spread(MeanColor):
    """In two passes: the mean, then the mean distance from it."""

    def __init__(self):
        super().__init__()
        self.spread = Mean()

    def extract(self, inputs):
        features = super().extract(inputs)
        if self.mean.is_fitted:
            features = (features - self.mean.state[:, None, None]).abs()
        return features


@pytest.mark.parametrize('batch_size', [1, 2, 3, 7, 10])
def test_every_image_is_collected_once(images, fit, batch_size):
    detector = fit(MeanColor(), images, batch_size)
    assert detector.mean.ids == list(range(7))
    # The last group is filled up.
    size, = set(detector.batches)
    assert size <= 8
    torch.testing.assert_close(detector.mean.state, images[..., ::2, ::2].mean(
        (0, 2, 3)))


@pytest.mark.parametrize('batch_size', [2, 7])
def test_two_passes(images, batch_size):
    detector = Spread()
    assert detector.num_passes == 2
    for _ in range(2):
        detector.begin_fit(7, batch_size)
        for module, is_last in ((detector.mean, False), (detector.spread,
                                                         True)):
            feed(detector, images, batch_size)
            assert module.ids == list(range(7))
            assert not detector.is_fitted
            detector.end_pass()
            assert detector.is_fitted == is_last
    pixels = images[..., ::2, ::2]
    mean = pixels.mean((0, 2, 3), keepdim=True)
    torch.testing.assert_close(detector.spread.state,
                               (pixels - mean).abs().mean((0, 2, 3)))


def test_each_pass_needs_every_image(images):
    detector = Spread()
    detector.begin_fit(7, 2)
    feed(detector, images, 2)
    detector.end_pass()
    feed(detector, images[:6], 2)
    with pytest.raises(InputError, match='collected 6 of 7 training images'):
        detector.end_pass()
    assert not detector.is_fitted


def test_a_pass_that_is_over_is_no_state(images):
    detector = Spread()
    detector.begin_fit(7, 2)
    feed(detector, images, 2)
    detector.end_pass()
    with pytest.raises(InputError, match='no fitted state'):
        Spread().load_state_dict(detector.state_dict())


def test_no_gradients(images):
    detector = MeanColor()
    detector.scale = nn.Parameter(torch.ones(()))
    detector.begin_fit(7, 2)
    feed(detector, images * detector.scale, 2)
    assert not any(value.requires_grad for value in detector.mean.sums)


def test_unfitted(images):
    with pytest.raises(InputError, match='MeanColor is not fitted'):
        MeanColor()(images)


def test_incomplete_fit(images):
    detector = MeanColor()
    detector.begin_fit(7, 2)
    feed(detector, images[:6], 2)
    with pytest.raises(InputError, match='collected 6 of 7 training images'):
        detector.end_pass()
    assert not detector.is_fitted


def test_images_beyond_the_data_set_are_padding(images):
    detector = MeanColor()
    detector.begin_fit(5, 2)
    feed(detector, images, 2)
    assert detector.mean.ids == [0, 1, 2, 3, 4]


def test_fitting_again_forgets(images, fit):
    detector = fit(MeanColor(), images)
    first = detector.mean.state
    detector.begin_fit(3, 1)
    assert not detector.is_fitted
    feed(detector, images[:3], 1)
    detector.end_pass()
    assert detector.mean.ids == [0, 1, 2]
    assert not torch.equal(detector.mean.state, first)


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
def test_fingerprint_must_agree(images, fit, strict):
    state = fit(MeanColor(), images).state_dict()
    other = MeanColor(stride=4)
    with pytest.raises(InputError, match='made with stride 2 instead of 4'):
        other.load_state_dict(state, strict=strict)
    assert not other.is_fitted
    assert not other.mean.is_fitted


@pytest.mark.parametrize('state', [{}, MeanColor().state_dict()])
def test_unfitted_state(state):
    with pytest.raises(InputError, match='no fitted state'):
        MeanColor().load_state_dict(state, strict=False)


def test_equal_numbers(images):
    detector = MeanColor()
    detector.begin_fit(7, 2)
    feed(detector, images, 2, order=[0, 1, 2, 2, 4, 5, 6])
    with pytest.raises(InputError, match='have the same `sample_idx`'):
        detector.end_pass()
    assert not detector.is_fitted


@pytest.mark.parametrize('number', [None, -1, '6'])
def test_no_numbers(images, number):
    detector = MeanColor()
    detector.begin_fit(7, 2)
    with pytest.raises(InputError, match=f'`sample_idx` {number!r}, but'):
        detector.fit_step(
            dict(
                inputs=images[:1],
                data_samples=[
                    AnomalyDataSample(metainfo=dict(sample_idx=number))
                ]))


def test_images_after_the_fit(images, fit):
    with pytest.raises(InputError, match='after its last pass'):
        feed(fit(MeanColor(), images), images, 2)


def test_a_module_that_finds_nothing(images, fit):

    class Idle(Mean):

        def finalize(self):
            pass

    detector = MeanColor()
    detector.mean = Idle()
    with pytest.raises(RuntimeError, match=r'`Idle\.finalize` has left'):
        fit(detector, images)
    assert not detector.is_fitted


@pytest.mark.parametrize('extract', [
    lambda x: x[:1], lambda x: x.mean((1, 2, 3)), lambda x:
    (x, x.flatten(0, 1))
])
def test_features_have_a_row_for_each_image(images, fit, extract):
    detector = MeanColor()
    detector.extract = extract
    with pytest.raises(ValueError, match='one row for each image'):
        fit(detector, images)


@pytest.mark.parametrize('container', [
    lambda part: nn.ModuleList([part]),
    lambda part: nn.ModuleDict(dict(part=part)), nn.Sequential
])
def test_what_no_pass_would_reach(images, fit, container):
    detector = MeanColor()
    detector.more = container(Mean())
    with pytest.raises(InputError, match=r'Mean "more.*would not be fitted'):
        fit(detector, images)


def test_nothing_to_fit(images, fit):
    detector = MeanColor()
    del detector.mean
    with pytest.raises(InputError, match='MeanColor has nothing to fit'):
        fit(detector, images)


def test_a_module_inside_another_is_its_own_business(images, fit):

    class Outer(Mean):

        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleList([Mean()])

        def finalize(self):
            super().finalize()
            self.inner[0].state = self.state

    detector = MeanColor()
    detector.mean = Outer()
    assert fit(detector, images).is_fitted


def test_an_empty_buffer_is_nothing_to_predict_with(images, fit):
    state = fit(MeanColor(), images).state_dict()
    other = MeanColor()
    other.load_state_dict({**state, 'mean.state': torch.empty(0)})
    assert not other.is_fitted
    with pytest.raises(InputError, match='its mean is empty'):
        other.predict(images)


def test_a_refused_part_is_nothing_to_predict_with(images, fit):
    state = fit(MeanColor(), images).state_dict()
    del state['mean.state']
    other = fit(MeanColor(), images)
    with pytest.raises(InputError, match=r'it lacks "mean\.state"'):
        other.load_state_dict(state, strict=False)
    assert not other.is_fitted


def test_numbers_beyond_the_data_set(images):
    detector = MeanColor()
    detector.begin_fit(6, 2)
    with pytest.raises(InputError, match='`sample_idx` 6, but there are 6'):
        feed(detector, images, 2, order=[0, 6])
