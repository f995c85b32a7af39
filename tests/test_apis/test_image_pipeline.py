import cv2
import numpy as np
import pytest
import torch
from config_texts import ROOT
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

from mmad.apis import AnomalyInferencer
from mmad.apis.image_pipeline import ImagePipeline, find_pipeline
from mmad.errors import InputError
from mmad.models import BaseDetector
from mmad.registry import DATASETS, MODELS

CONFIGS = sorted(
    str(path.relative_to(ROOT / 'configs'))
    for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name != '_base_' and not path.name.startswith('teacher_'))


@MODELS.register_module(force=True)
class PlainDetector(BaseDetector):
    """Its map is the preprocessed image, so any other pixel shows."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.register_buffer('one', torch.ones(1))
        self.fit_state.finalize()

    def score(self, inputs):
        maps = (inputs * torch.tensor([1.0, 3, 7])[:, None, None]).sum(
            1, keepdim=True)
        return maps.mean((1, 2, 3)), maps

    def loss(self, inputs, data_samples):
        return {}


def save(cfg, folder):
    """A checkpoint of a detector that needs no fit."""
    model = MODELS.build(cfg.model)
    state = dict(state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text))
    torch.save(state, folder / 'plain.pth')
    return folder / 'plain.pth'


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected):
        if not isinstance(other, dict):  # which metrics are given
            other = other.to_dict()
        for key in ('pred_score', 'pred_map'):
            assert torch.equal(one.get(key), other[key])
        for key in ('ori_shape', 'resized_shape', 'crop_offset', 'rotation'):
            assert one.get(key) == other.get(key)


def distinct_configs(folder):
    """Those of the shipped configs that read images in different ways."""
    found = {}
    for name in CONFIGS:
        if name.startswith(f'{folder}/'):
            cfg = Config.fromfile(ROOT / 'configs' / name)
            dataset = cfg.test_dataloader.dataset
            cfg.model = dict(
                type='PlainDetector',
                data_preprocessor=cfg.model.data_preprocessor)
            found.setdefault(
                str((cfg.model, dataset.type, dataset.pipeline)), cfg)
    return found.values()


def on_small_data(cfg, mvtec_root, tmp_path):
    """Data set, checkpoint and files of a config."""
    loader = cfg.test_dataloader
    if loader.dataset.type == 'OneClassDataset':
        loader.dataset.update(name='digits', indices=5)
        dataset = DATASETS.build(loader.dataset)
        files = []
        for number in range(5):
            files.append(str(tmp_path / f'{number}.png'))
            cv2.imwrite(files[-1], dataset.get_data_info(number)['img'])
    else:
        loader.dataset = dict(
            type='AnomalyDataset',
            data_root=str(mvtec_root),
            category='bottle',
            split='test',
            pipeline=loader.dataset.pipeline)
        dataset = DATASETS.build(loader.dataset)
        files = [
            dataset.get_data_info(i)['img_path'] for i in range(len(dataset))
        ]
    return dataset, save(cfg, tmp_path), files


@pytest.mark.parametrize('folder',
                         sorted({name.split('/')[0]
                                 for name in CONFIGS}))
def test_every_config_predicts_as_its_test_does(folder, mvtec_root, tmp_path):
    init_default_scope('mmad')
    for cfg in distinct_configs(folder):
        print(cfg.filename)
        dataset, checkpoint, files = on_small_data(cfg, mvtec_root, tmp_path)
        model = MODELS.build(cfg.model).eval()
        expected = model.test_step(pseudo_collate(list(dataset)))

        inferencer = AnomalyInferencer(
            checkpoint, device='cpu', modules=__name__)

        assert_same(inferencer(files), expected)
        arrays = [cv2.imread(path) for path in files]
        assert_same(inferencer(arrays, batch_size=3), expected)
        pillow = [Image.open(path) for path in files]
        assert_same(inferencer(iter(pillow), batch_size=1), expected)
        for sample, array in zip(inferencer(arrays), arrays):
            if sample.get('rotation'):
                with pytest.raises(InputError, match='was rotated'):
                    sample.original_map()
            else:
                assert sample.original_map().shape == array.shape[:2]


def test_digits_reach_the_model_at_64_pixels(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/patchcore/patchcore_demo_digits.py')
    cfg.model = dict(
        type='PlainDetector', data_preprocessor=cfg.model.data_preprocessor)
    inferencer = AnomalyInferencer(
        save(cfg, tmp_path), device='cpu', modules=__name__)
    sample, = inferencer(np.zeros((8, 8, 3), np.uint8))
    assert sample.pred_map.shape == (64, 64)
    assert sample.original_map().shape == (8, 8)


LOADERS = [
    dict(type='LoadImage'),
    dict(type='mmad.LoadImage'),
    dict(type='mmad.datasets.transforms.LoadImage'),
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='mmengine.LoadImageFromFile', imdecode_backend='pillow'),
]
MASKS = [
    dict(type='LoadMask'),
    dict(type='mmad.LoadMask'),
    dict(type='mmad.datasets.transforms.load_mask.LoadMask'),
    dict(type='Compose', transforms=[dict(type='LoadMask')]),
    dict(type='RandomApply', transforms=dict(type='LoadMask'), prob=1.0),
    dict(type='RandomChoice', transforms=[[dict(type='mmad.LoadMask')]]),
]
ENDS = [
    [dict(type='Resize', scale=(30, 20)),
     dict(type='PackInputs')],
    [
        dict(
            type='Compose',
            transforms=[
                dict(type='Resize', scale=(30, 20)),
                dict(type='PackInputs')
            ])
    ],
]


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    return str(tmp_path / 'a.png'), pixels


def as_array(pixels):
    return dict(given=pixels)


@pytest.mark.parametrize('loader', LOADERS)
@pytest.mark.parametrize('mask', MASKS)
@pytest.mark.parametrize('end', ENDS)
@pytest.mark.parametrize('order', ['loader', 'mask', 'wrapped', 'none'])
def test_steps_are_found_by_class(image, loader, mask, end, order):
    steps = dict(
        loader=[loader, mask, *end],
        mask=[mask, loader, *end],
        wrapped=[dict(type='Compose', transforms=[loader, mask]), *end],
        none=[mask, *end])[order]
    init_default_scope('mmad')
    path, pixels = image
    pipeline = ImagePipeline(steps)
    from_file = pipeline(dict(img_path=path))
    from_array = pipeline(as_array(pixels))
    assert from_file['inputs'].shape == (3, 20, 30)
    assert torch.equal(from_file['inputs'], from_array['inputs'])
    for packed in (from_file, from_array):
        assert packed['data_samples'].ori_shape == (9, 12)
        assert 'gt_mask' not in packed['data_samples']


def test_classes_instead_of_names(image):
    from mmad.datasets.transforms import LoadImage, LoadMask, PackInputs
    pipeline = ImagePipeline(
        [dict(type=LoadImage),
         dict(type=LoadMask),
         dict(type=PackInputs)])
    assert torch.equal(
        pipeline(dict(img_path=image[0]))['inputs'],
        pipeline(as_array(image[1]))['inputs'])


@pytest.mark.parametrize('kind', ['LoadImge', 'mmad.none', 'os.none', None])
def test_unknown_step(kind):
    with pytest.raises(InputError, match='which is not registered'):
        ImagePipeline([dict(type='LoadImage'), dict(type=kind)])


def test_pipeline_without_an_end(image):
    pipeline = ImagePipeline([dict(type='LoadImage')])
    with pytest.raises(InputError, match='last step must be PackInputs'):
        pipeline(dict(img_path=image[0]))


PIPELINE = [dict(type='PackInputs')]


@pytest.mark.parametrize(('dataset', 'expected'), [
    (dict(pipeline=PIPELINE), PIPELINE),
    (dict(type='RepeatDataset', dataset=dict(pipeline=PIPELINE)), PIPELINE),
    (dict(datasets=[dict(pipeline=PIPELINE)] * 2), PIPELINE),
    (dict(), None),
    (None, None),
])
def test_find_pipeline(dataset, expected):
    cfg = dict(test_dataloader=dict(dataset=dataset))
    assert find_pipeline(cfg, 'x') == expected


def test_no_pipeline():
    assert find_pipeline(dict(), 'x') is None
    assert find_pipeline(dict(test_dataloader=None), 'x') is None


def test_differing_pipelines():
    datasets = [dict(pipeline=PIPELINE), dict(pipeline=PIPELINE * 2)]
    with pytest.raises(InputError, match='whose pipelines differ'):
        find_pipeline(
            dict(test_dataloader=dict(dataset=dict(datasets=datasets))), 'x')
