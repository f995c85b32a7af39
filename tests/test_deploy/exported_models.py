"""Small fitted detectors of each method, and graphs of them."""
import numpy as np
import torch
from mmengine.config import Config
from tiny_models import NETWORK, NORMALIZATION, fit_shard

from mmad.models import (
    FYD,
    MKD,
    SPADE,
    Ensemble,
    PaDiM,
    PatchCore,
    UninformedStudents,
)

SIZE = 32, 40
PIPELINE = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(44, 36), backend='pillow'),
    dict(type='CenterCrop', crop_size=(40, 32)),
    dict(type='PackInputs'),
]
CLONER = dict(
    type='Cloner',
    widths=[[8, 6], [8, 10]],
    points=[0, 1],
    strides=[4, 2],
    ceil_mode=True)
TINY = dict(type='TinyBackbone')
STEPPED = dict(type='SteppedBackbone')


def draw_images(number, size=(36, 44), seed=0):
    """Smooth uint8 images ``(N, H, W, 3)`` with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(number, 3, 4, 5, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size, mode='bilinear')
    images = images + 0.2 * torch.rand(number, 3, *size, generator=generator)
    return (images * 255 / 1.2).byte().permute(0, 2, 3, 1).numpy()


def _fit(detector):
    images = torch.from_numpy(draw_images(7, SIZE)).permute(0, 3, 1, 2)
    return fit_shard(detector, images)


def make_patchcore(num_neighbors=3, **kwargs):
    return _fit(
        PatchCore(
            TINY,
            coreset_ratio=0.3,
            num_neighbors=num_neighbors,
            data_preprocessor=NORMALIZATION,
            **kwargs))


def make_padim(dim=6, **kwargs):
    return _fit(
        PaDiM(TINY, dim=dim, data_preprocessor=NORMALIZATION, **kwargs))


def make_spade(**kwargs):
    return _fit(
        SPADE(
            TINY,
            image_stage='layer3',
            pyramid_stages=('layer2', 'layer3'),
            num_neighbors=3,
            data_preprocessor=NORMALIZATION,
            **kwargs))


def make_fyd(**kwargs):
    detector = FYD(STEPPED, dim=6, data_preprocessor=NORMALIZATION, **kwargs)
    for part in (detector.ica, *(detector.fca or {}).values()):
        if part is not None:  # not the identity
            torch.nn.init.normal_(
                part.linear[-1].weight,
                std=0.3,
                generator=torch.Generator().manual_seed(0))
    if detector.pose_search is not None:
        search = detector.pose_search
        search.num_images = 7
        search.reset()
        images = torch.from_numpy(draw_images(7, SIZE)).permute(0, 3, 1, 2)
        search.update(images.float(), list(range(7)))
        search.finalize()
        if not search.finds_poses:  # but search for some
            from mmad.models.layers.template_matching import turned_spectra
            edges = torch.rand(
                1,
                search.side,
                search.side,
                generator=torch.Generator().manual_seed(0))
            search.spectra = torch.view_as_real(
                turned_spectra(edges, search.num_angles)).contiguous()
    return _fit(detector)


def make_mkd(**kwargs):
    torch.manual_seed(0)
    detector = MKD(
        TINY,
        CLONER,
        loss_weight=0.5,
        data_preprocessor=NORMALIZATION,
        **kwargs)
    detector.fit_state.finalize()
    return detector.eval()


def make_students(**kwargs):
    torch.manual_seed(0)
    detector = UninformedStudents(
        [dict(network=dict(NETWORK, patch_size=size)) for size in (17, 33)],
        data_preprocessor=NORMALIZATION)
    for scale in detector.scales.values():
        for statistics, channels in ((scale.teacher_statistics, 4),
                                     (scale.score_statistics, 2)):
            statistics.mean = torch.full((channels, ), 0.01)
            statistics.std = torch.full((channels, ), 0.05)
    detector.fit_state.finalize()
    return detector.eval()


def make_ensemble():
    detector = Ensemble([
        PatchCore(TINY, coreset_ratio=0.3, num_neighbors=1),
        PaDiM(TINY, dim=6)
    ], NORMALIZATION)
    _fit(detector)
    scales = torch.tensor([[2.0, 2.5, 3], [20, 22, 25]])
    detector.learn_scales(scales, scales / 3, scales / 9)
    return detector


POSES = dict(
    pose_search=dict(num_angles=6, side=16, max_shift=0.3),
    ica=dict(mode='rotation_translation', max_angle=20, max_shift=0.1))
ALL_STAGES = dict(
    ica=POSES['ica'], fca=dict(), fas=dict(), gaussian_frame='original')
METHODS = dict(
    patchcore=make_patchcore,
    patchcore_official=lambda: make_patchcore(
        patch_features=dict(embedding='official', dim=20)),
    patchcore_neighbors=lambda: make_patchcore(
        num_neighbors=1,
        num_patch_neighbors=3,
        patch_features=dict(patch_size=5)),
    padim=make_padim,
    padim_pca=lambda: make_padim(reduction='pca'),
    padim_given=lambda: make_padim(
        reduction='given', dim=None, indices=[5, 1, 8]),
    padim_sum_of_maps=lambda: make_padim(
        reduction='none', dim=None, fusion='sum_of_maps'),
    spade=make_spade,
    spade_per_level=lambda: make_spade(
        fusion='per_level',
        gallery='all',
        num_pixel_neighbors=2,
        gallery_dtype='float16'),
    spade_not_squared=lambda: make_spade(
        fusion='per_level', squared=False, num_pixel_neighbors=2),
    fyd=make_fyd,
    fyd_poses=lambda: make_fyd(**POSES),
    fyd_all=lambda: make_fyd(**ALL_STAGES),
    mkd=make_mkd,
    students=make_students,
    ensemble=make_ensemble)


def calibrated(detector):
    """Thresholds between those of normal and of other images."""
    detector.decision.calibrate(*scores_of(detector, draw_images(9)), 0.2,
                                'held_out')
    return detector


def scores_of(detector, images):
    cropped = np.ascontiguousarray(images[:, 2:-2, 2:-2])
    samples = detector.test_step(
        dict(
            inputs=list(torch.from_numpy(cropped).permute(0, 3, 1, 2)),
            data_samples=None))
    return (torch.stack([sample.pred_score for sample in samples]),
            torch.stack([sample.pred_map.max() for sample in samples]))


def with_config(detector):
    detector.cfg = Config(
        dict(test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    return detector
