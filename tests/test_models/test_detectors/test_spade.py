import numpy as np
import pytest
import torch
from tiny_models import fit_shard

from mmad.errors import InputError
from mmad.models import SPADE
from mmad.models.layers.pyramid import to_grid


@pytest.fixture
def make_spade():

    def make(**kwargs):
        kwargs.setdefault('num_neighbors', 3)
        return SPADE(
            dict(type='TinyBackbone'),
            image_stage='layer3',
            pyramid_stages=('layer2', 'layer3'),
            **kwargs)

    return make


@pytest.fixture
def queries():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(3, 3, 32, 40, generator=generator)


def squared_distances(detector, queries, images):
    """Of pooled features, ``(B, N)``, in float64."""
    pooled = [
        detector.backbone(x)[1].mean((2, 3)).double()
        for x in (queries, images)
    ]
    return (pooled[0][:, None] - pooled[1]).square().sum(2)


@pytest.mark.parametrize('neighbors', [1, 3, 7])
def test_score_is_the_mean_of_squared_distances(make_spade, fit, images,
                                                queries, neighbors):
    detector = fit(make_spade(num_neighbors=neighbors), images)
    expected = squared_distances(detector, queries, images).topk(
        neighbors, largest=False).values.mean(1)
    torch.testing.assert_close(
        detector(queries)[0].double(), expected, rtol=1e-5, atol=1e-7)


def test_more_neighbors_than_images(make_spade, fit, images, queries):
    many = fit(make_spade(num_neighbors=50), images)
    all_of_them = fit(make_spade(num_neighbors=7), images)
    for one, other in zip(many(queries), all_of_them(queries)):
        assert torch.equal(one, other)


@pytest.mark.parametrize('kappa', [1, 4, 1000])
@pytest.mark.parametrize('gallery', ['topk', 'all'])
def test_map_by_brute_force(make_spade, fit, images, queries, kappa, gallery):
    detector = fit(
        make_spade(num_pixel_neighbors=kappa, gallery=gallery), images)

    def features(inputs):
        fine, coarse = detector.backbone(inputs)
        joined = torch.cat([fine, to_grid(coarse, fine.shape[-2:])], 1)
        return joined.flatten(2).mT.double()

    nearest = squared_distances(detector, queries, images).topk(
        3 if gallery == 'topk' else 7, largest=False).indices
    maps = []
    for query, chosen in zip(features(queries), nearest):
        rows = features(images)[chosen].flatten(0, 1)
        squares = (query[:, None] - rows).square().sum(2)
        k = min(kappa, len(rows))
        maps.append(squares.topk(k, largest=False).values.mean(1))
    expected = detector.anomaly_map(
        torch.stack(maps).view(3, 1, 8, 10), (32, 40))
    torch.testing.assert_close(
        detector(queries)[1].double(), expected, rtol=1e-4, atol=1e-5)


def test_per_level_is_the_mean_of_separate_searches(make_spade, fit, images,
                                                    queries):
    detector = fit(make_spade(fusion='per_level', gallery='all'), images)
    maps = []
    for query, rows in zip(
            detector.backbone(queries), detector.backbone(images)):
        rows = rows.flatten(2).mT.flatten(0, 1).double()
        squares = torch.cdist(query.flatten(2).mT.double(), rows).square()
        distances = squares.amin(2).view(3, 1, *query.shape[-2:])
        maps.append(detector.anomaly_map(distances, (32, 40)))
    torch.testing.assert_close(
        detector(queries)[1].double(), sum(maps) / 2, rtol=1e-4, atol=1e-5)


def distances_by_hand(query, rows):
    """Between ``(P, C)`` and ``(Q, C)``, in NumPy."""
    query, rows = query.double().numpy(), rows.double().numpy()
    return np.sqrt(np.square(query[:, None] - rows).sum(2))


@pytest.mark.parametrize('neighbors', [1, 3])
@pytest.mark.parametrize('kappa', [1, 3])
@pytest.mark.parametrize('fusion', ['concat', 'per_level'])
def test_distances_that_are_not_squared(make_spade, fit, images, queries,
                                        fusion, neighbors, kappa):
    detector = fit(
        make_spade(
            num_neighbors=neighbors,
            num_pixel_neighbors=kappa,
            fusion=fusion,
            squared=False), images)
    scores, maps = detector(queries)
    stages, stored = detector.backbone(queries), detector.backbone(images)
    if fusion == 'concat':
        stages, stored = ([
            torch.cat([fine, to_grid(coarse, fine.shape[-2:])], 1)
        ] for fine, coarse in (stages, stored))
    pooled = [detector.backbone(x)[1].mean((2, 3)) for x in (queries, images)]
    between = distances_by_hand(*pooled)
    for i, row in enumerate(between):
        nearest = np.argsort(row)[:neighbors]
        assert scores[i].item() == pytest.approx(row[nearest].mean(), rel=1e-5)
        expected = 0
        for level, others in zip(stages, stored):
            rows = others[nearest].flatten(2).mT.flatten(0, 1)
            found = distances_by_hand(level[i].flatten(1).T, rows)
            grid = np.sort(found, 1)[:, :kappa].mean(1)
            expected += detector.anomaly_map(
                torch.from_numpy(grid).view(1, 1, *level.shape[-2:]),
                (32, 40)) / len(stages)
        torch.testing.assert_close(
            maps[i:i + 1].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('fusion', ['concat', 'per_level'])
def test_training_images_are_normal(make_spade, fit, images, fusion):
    detector = fit(
        make_spade(num_neighbors=1, fusion=fusion), images, batch_size=7)
    scores, maps = detector(images)
    assert scores.max() < 1e-10
    assert torch.equal(maps, torch.zeros_like(maps))


def test_scores_do_not_depend_on_the_batch(make_spade, fit, images, queries):
    detector = fit(make_spade(), images)
    together = detector(queries)
    for i in range(3):
        scores, maps = detector(queries[i:i + 1])
        torch.testing.assert_close(scores[0], together[0][i])
        torch.testing.assert_close(maps[0], together[1][i])


@pytest.mark.parametrize('in_files', [False, True])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_reload(make_spade, fit, images, queries, tmp_path, in_files, dtype):
    where = dict(
        gallery_dtype=dtype, gallery_dir=tmp_path if in_files else None)
    detector = fit(make_spade(**where), images)
    other = make_spade(**where).eval()
    other.load_state_dict(detector.state_dict())
    for one, same in zip(detector(queries), other(queries)):
        assert torch.equal(one, same)


def test_files_and_memory_are_the_same(make_spade, fit, images, queries,
                                       tmp_path):
    in_memory = fit(make_spade(), images)
    in_files = fit(make_spade(gallery_dir=tmp_path), images)
    assert torch.equal(in_memory(queries)[1], in_files(queries)[1])


def test_checkpoint_of_the_other_storage(make_spade, fit, images, tmp_path):
    state = fit(make_spade(gallery_dir=tmp_path), images).state_dict()
    with pytest.raises(
            InputError, match="gallery_dir 'a folder' "
            'instead of None'):
        make_spade().load_state_dict(state, strict=False)


def test_half_precision_is_close(make_spade, fit, images, queries):
    single = fit(make_spade(), images)(queries)[1]
    half = fit(make_spade(gallery_dtype='float16'), images)(queries)[1]
    assert not torch.equal(single, half)
    torch.testing.assert_close(half, single, rtol=1e-2, atol=1e-3)


def test_images_of_another_size(make_spade, fit, images):
    detector = fit(make_spade(), images)
    with pytest.raises(
            InputError,
            match=r'grids \[\(8, 8\), \(4, 4\)\] '
            r'instead of \[\(8, 10\), \(4, 5\)\]'):
        detector(images[..., :32])
    with pytest.raises(InputError, match='in one size'):
        detector(images.mT)


def test_unfitted(make_spade, images):
    with pytest.raises(InputError, match='SPADE is not fitted'):
        make_spade()(images)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(fusion='sum'), '`fusion` must be "concat" or "per_level"'),
    (dict(gallery='some'), '`gallery` must be "topk" or "all"'),
    (dict(num_neighbors=0), '`num_neighbors` must be .* at least 1'),
    (dict(num_pixel_neighbors=0), '`num_pixel_neighbors`'),
    (dict(gallery_dtype='int8'), '`gallery_dtype`'),
    (dict(squared='no'), '`squared` must be True or False'),
])
def test_bad_arguments(make_spade, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_spade(**kwargs)


def test_stage_that_the_backbone_does_not_return():
    with pytest.raises(InputError, match=r"lacks \['layer4'\]"):
        SPADE(dict(type='TinyBackbone'), pyramid_stages=('layer2', ))


def _fit_shard(rank, detector, images, queries):
    fit_shard(detector, images)
    with torch.no_grad():
        scores, maps = detector(queries)
    return dict(detector.state_dict(), scores=scores, maps=maps)


@pytest.mark.parametrize('in_files', [False, True])
@pytest.mark.parametrize('world', [2, 3, 4])
def test_processes_fit_as_one(run_processes, make_spade, images, queries,
                              tmp_path, world, in_files):

    def make(folder):
        return make_spade(gallery_dir=tmp_path / folder if in_files else None)

    expected = _fit_shard(0, make('alone'), images, queries)
    for state in run_processes(world, _fit_shard, make('shared'), images,
                               queries):
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(state[name], value), name
