"""Detectors whose fit is the same however its images come and go."""
from mmad.models import FYD, SPADE, FitDetector, PaDiM, PatchCore
from mmad.models.layers import FittedModule

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
    patch_neighbors=lambda: PatchCore(
        TINY, coreset_ratio=1, num_neighbors=1, num_patch_neighbors=3),
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
    not_squared=lambda: make_spade(fusion='per_level', squared=False),
    fp16=lambda: make_spade(gallery_dtype='float16'),
    padim=lambda: PaDiM(TINY, dim=4, epsilon=0.1),
    no_reduction=lambda: PaDiM(TINY, 'none', None, epsilon=1),
    given=lambda: PaDiM(TINY, 'given', None, [9, 2, 15, 4], epsilon=0.1),
    sum_of_maps=lambda: PaDiM(
        TINY, 'none', None, fusion='sum_of_maps', epsilon=1),
    fyd=lambda: FYD(dict(type='SteppedBackbone'), dim=4, epsilon=0.1),
)


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
