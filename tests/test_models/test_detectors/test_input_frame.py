"""Size, borders and finiteness of images, for all detectors."""
import pytest
import torch
from budgets import budget_for
from mmengine.dataset import DefaultSampler
from tiny_models import fit_shard

from mmad.errors import InputError
from mmad.models import (
    FYD,
    MKD,
    SPADE,
    BaseDetector,
    PaDiM,
    PatchCore,
    UninformedStudents,
)
from mmad.structures import AnomalyDataSample

BACKBONE = dict(type='TinyBackbone')
PREPROCESSOR = dict(type='ImgDataPreprocessor')
NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.02, out_channels=4)
CLONER = dict(
    type='Cloner',
    widths=[[6], [10]],
    points=[0, 1],
    strides=[4, 2],
    ceil_mode=True)


def make(cls, **kwargs):
    torch.manual_seed(0)
    arguments = {
        FYD:
        dict(backbone=BACKBONE, dim=6),
        MKD:
        dict(backbone=BACKBONE, cloner=CLONER, loss_weight=1),
        PaDiM:
        dict(backbone=BACKBONE, dim=6),
        PatchCore:
        dict(backbone=BACKBONE, num_neighbors=3, sigma=1.5),
        SPADE:
        dict(
            backbone=BACKBONE,
            image_stage='layer3',
            pyramid_stages=['layer2', 'layer3'],
            num_neighbors=3),
        UninformedStudents:
        dict(scales=[dict(network=NETWORK)], num_students=2)
    }[cls]
    return cls(**dict(arguments, data_preprocessor=PREPROCESSOR, **kwargs))


ALL = [FYD, MKD, PaDiM, PatchCore, SPADE, UninformedStudents]
FITTED = [FYD, PaDiM, PatchCore, SPADE]
WITHOUT_BORDERS = [FYD, MKD, PaDiM, SPADE, UninformedStudents]


@pytest.fixture(params=ALL, ids=lambda cls: cls.__name__)
def ready(request, images):
    """A detector that predicts, whether well or not."""
    detector = make(request.param)
    if request.param in FITTED:
        return fit_shard(detector, images)
    if request.param is UninformedStudents:
        ensemble = detector.scales['p17']
        for statistics, number in ((ensemble.teacher_statistics, 4),
                                   (ensemble.score_statistics, 2)):
            statistics.mean = torch.zeros(number)
            statistics.std = torch.ones(number)
    detector.fit_state.finalize()
    return detector.eval()


def batch_of(images, **metainfo):
    return dict(
        inputs=list(images),
        data_samples=[
            AnomalyDataSample(
                metainfo=dict(
                    img_path=f'image_{i}.png',
                    sample_idx=i,
                    img_shape=tuple(image.shape[1:]),
                    **metainfo)) for i, image in enumerate(images)
        ])


@pytest.mark.parametrize('order', [1, -1])
@torch.no_grad()
def test_sizes_in_a_batch(ready, images, order):
    mixed = [images[0], images[1, :, :28]][::order]
    with pytest.raises(
            InputError,
            match=(
                rf'"image_{1 if order > 0 else 0}\.png" of 40x28 pixels was '
                r'padded to 40x32 .* Resize with keep_ratio=False, or Letter'
            )):
        ready.test_step(batch_of(mixed))


@torch.no_grad()
def test_sizes_in_batches_of_one(ready, images):
    ready.test_step(batch_of(images[:1]))
    with pytest.raises(
            InputError,
            match=r'"image_0\.png" is 36x32 pixels, '
            r'but those before, .* were 40x32'):
        ready.test_step(batch_of(images[:1, :, :, :36]))
    ready.test_step(batch_of(images[1:]))


@torch.no_grad()
def test_padding_to_a_multiple(ready, images):
    ready.data_preprocessor.pad_size_divisor = 64
    with pytest.raises(InputError, match=r'pad_size_divisor'):
        ready.test_step(batch_of(images[:2]))


@torch.no_grad()
def test_the_size_travels_in_the_state(ready, images):
    ready.test_step(batch_of(images[:1]))
    other = make(type(ready)).eval()
    other.load_state_dict(ready.state_dict())
    with pytest.raises(InputError, match=r'those before, .* were 40x32'):
        other.test_step(batch_of(images[:1, :, :28]))


@torch.no_grad()
def test_scores_do_not_depend_on_the_others(ready, images):
    together = ready.test_step(batch_of(images))
    for i in (0, 4):
        alone, = ready.test_step(batch_of(images[i:i + 1]))
        torch.testing.assert_close(alone.pred_score, together[i].pred_score)
        torch.testing.assert_close(alone.pred_map, together[i].pred_map)


@pytest.mark.parametrize('value', [torch.nan, torch.inf, 1e30])
@torch.no_grad()
def test_scores_that_are_not_finite(ready, images, value):
    images = images.clone()
    images[1] *= value
    with pytest.raises(
            InputError,
            match=r'"image_1\.png" has a score or an '
            'anomaly map that is not finite'):
        ready.test_step(batch_of(images[:3]))


@pytest.mark.parametrize('cls', FITTED)
@pytest.mark.parametrize('factor', [1e30, torch.nan])
def test_weights_that_overflow_are_not_fitted(cls, images, factor):
    detector = make(cls)
    for parameter in detector.backbone.parameters():
        parameter.data *= factor
    with pytest.raises(InputError, match=r'"image_0\.png" has non-finite'):
        fit_shard(detector, images)


@pytest.mark.parametrize('cls', FITTED)
def test_sizes_in_a_fit(cls, images):
    detector = make(cls)
    detector.begin_fit(4, 2)
    with pytest.raises(InputError, match='was padded to 40x32'):
        detector.train_step(batch_of([images[0], images[1, :, :, :36]]))
    detector.begin_fit(4, 1)
    detector.train_step(batch_of(images[:1]))
    with pytest.raises(InputError, match='is 36x32 pixels, but those before'):
        detector.train_step(batch_of(images[:1, :, :, :36]))
    # A new fit may have another size.
    detector.begin_fit(4, 1)
    detector.train_step(batch_of(images[:1, :, :, :36]))


@pytest.mark.parametrize('cls', FITTED)
def test_a_fit_must_begin(cls, images):
    with pytest.raises(InputError, match=r'before `begin_fit`.* FitHook'):
        make(cls).train_step(batch_of(images[:2]))


# The image fills rows 8 to 24 of 32.
BORDER = dict(crop_offset=(-8, 0), resized_shape=(16, 40))


@pytest.mark.parametrize('cls', WITHOUT_BORDERS)
def test_borders_that_cannot_be_left_out(cls, images):
    detector = make(cls)
    data = batch_of(images[:2], **BORDER)
    detector.require_fitted = lambda: None
    with pytest.raises(
            InputError,
            match=r'"image_0\.png" has the border of a '
            f'letterbox, which {cls.__name__} cannot'):
        detector.test_step(data)
    with pytest.raises(InputError, match='has the border of a letterbox'):
        detector(
            torch.stack(data['inputs']), data['data_samples'], mode='loss')
    if cls in FITTED:
        detector.begin_fit(2, 2)
        with pytest.raises(InputError, match='has the border of a letterbox'):
            detector.train_step(data)


@torch.no_grad()
def test_a_crop_has_no_border(ready, images):
    ready.test_step(
        batch_of(images[:2], crop_offset=(2, 3), resized_shape=(20, 20)))


@pytest.mark.parametrize('cls', [BaseDetector])
def test_a_batch_is_needed(cls):

    class Any(cls):

        def require_fitted(self):
            pass

        def score(self, inputs):
            raise AssertionError

        loss = score

    detector = Any()
    detector.fit_state.finalize()
    with pytest.raises(InputError, match='ImgDataPreprocessor'):
        detector([torch.zeros(3, 4, 4)], mode='predict')


def boxed(images, borders, fill):
    """Images with a border of rows, and what is known of them."""
    samples = []
    images = images.clone()
    for i, border in enumerate(borders):
        bottom = images.shape[2] - border
        images[i, :, :border] = fill
        images[i, :, bottom:] = fill
        info = dict(
            crop_offset=(-border, 0),
            resized_shape=(bottom - border,
                           images.shape[3])) if border else {}
        samples.append(
            AnomalyDataSample(
                metainfo=dict(sample_idx=i, img_path=f'image_{i}.png', **
                              info)))
    return images, samples


BORDERS = [8, 0, 5, 3, 0, 8, 1]


def fit_boxed(detector, images, fill=0.0, batch_size=2):
    images, samples = boxed(images, BORDERS, fill)
    order = list(DefaultSampler(images, shuffle=False))
    detector.begin_fit(len(images), batch_size)
    for start in range(0, len(order), batch_size):
        batch = order[start:start + batch_size]
        detector.fit_step(
            dict(
                inputs=images[batch],
                data_samples=[samples[i] for i in batch]))
    detector.end_pass()
    return detector.eval()


RATIOS = [
    dict(coreset_ratio=1),
    dict(coreset_ratio=0.3),
    dict(coreset_ratio=0.5, memory_budget=budget_for(200, 16)),
    dict(coreset_ratio=1, memory_budget=budget_for(200, 16), first_patch=0)
]


@pytest.mark.parametrize('kwargs', RATIOS)
@pytest.mark.parametrize('fill', [7.0, torch.nan, torch.inf])
@torch.no_grad()
def test_nothing_depends_on_what_is_in_a_border(make_patchcore, images, fill,
                                                kwargs):
    expected = fit_boxed(make_patchcore(**kwargs), images)
    detector = fit_boxed(make_patchcore(**kwargs), images, fill)
    assert torch.equal(detector.memory_bank.rows, expected.memory_bank.rows)
    borders = [5, 8, 0, 3, 2, 0, 7]
    ours = detector.predict(*boxed(images + 1, borders, fill))
    theirs = expected.predict(*boxed(images + 1, borders, 0))
    for sample, other, border in zip(ours, theirs, borders):
        assert torch.equal(sample.pred_score, other.pred_score)
        inside = slice(border, 32 - border)
        assert torch.equal(sample.pred_map[inside], other.pred_map[inside])
        assert sample.pred_map[inside].isfinite().all()
        outside = [sample.pred_map[:border], sample.pred_map[32 - border:]]
        assert torch.cat(outside).isnan().all()


@torch.no_grad()
def test_neighbors_with_borders_change_nothing(make_patchcore, images):
    detector = fit_boxed(make_patchcore(coreset_ratio=0.3), images)
    borders = [5, 8, 0, 3, 2, 0, 7]
    together = detector.predict(*boxed(images + 1, borders, 0))
    for i, border in enumerate(borders):
        alone, = detector.predict(*boxed(images[i:i + 1] + 1, [border], 0))
        torch.testing.assert_close(alone.pred_score, together[i].pred_score)
        torch.testing.assert_close(
            alone.pred_map, together[i].pred_map, equal_nan=True)


def test_patches_of_the_border_are_not_in_the_bank(make_patchcore, images):
    detector = fit_boxed(make_patchcore(coreset_ratio=1), images)
    # Rows of the grid of 8 x 10 whose cell of 4 pixels shows some image.
    rows = [8 - 2 * (border // 4) for border in BORDERS]
    assert len(detector.memory_bank) == 10 * sum(rows)
    # Zeros all over see nothing that is in the bank.
    blank = detector.extract(torch.zeros(1, 3, 32, 40))[0, :, 4, 4]
    assert not (detector.memory_bank.rows == blank).all(1).any()


@torch.no_grad()
def test_a_constant_distance_gives_a_constant_map(make_patchcore, images):
    detector = fit_boxed(make_patchcore(coreset_ratio=1), images)
    valid = torch.zeros(1, 1, 8, 10, dtype=torch.bool)
    valid[:, :, 2:6] = True
    maps = detector.anomaly_map(
        torch.full((1, 1, 8, 10), 3.0), (32, 40), valid)
    torch.testing.assert_close(maps[:, :, 8:24], torch.full((1, 1, 16, 40),
                                                            3.0))


def bank_of_a_share(rank, detector, images):
    return fit_boxed(detector, images).memory_bank.rows


@pytest.mark.parametrize('world', [2, 3])
@pytest.mark.parametrize('kwargs', RATIOS)
def test_borders_in_several_processes(run_processes, make_patchcore, images,
                                      kwargs, world):
    alone = fit_boxed(make_patchcore(**kwargs), images).memory_bank.rows
    for rows in run_processes(world, bank_of_a_share, make_patchcore(**kwargs),
                              images):
        assert torch.equal(rows, alone)
