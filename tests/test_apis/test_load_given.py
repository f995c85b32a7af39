"""Arrays and files go through any pipeline as in `tools/test.py`."""
import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.registry import init_default_scope
from PIL import Image

from mmad.apis.image_pipeline import ImagePipeline, find_pipeline
from mmad.datasets.transforms import LoadImage
from mmad.errors import InputError
from mmad.registry import DATASETS, TRANSFORMS


@TRANSFORMS.register_module(force=True)
class LoadImageOfMine(BaseTransform):
    """A loader that is not derived from MMCV's, of files with no format."""

    def transform(self, results):
        results['img'] = np.fromfile(results['img_path'],
                                     np.uint8)[:9 * 12 * 3].reshape(9, 12, 3)
        results['img_shape'] = results['ori_shape'] = (9, 12)
        return results


@TRANSFORMS.register_module(force=True)
class ThreeChannels(BaseTransform):

    def transform(self, results):
        image = results['img']
        if image.ndim == 2:
            image = image[..., None]
        results['img'] = np.repeat(image[..., :1], 3, axis=2)
        return results


@TRANSFORMS.register_module(force=True)
class Tag(BaseTransform):
    """Stands before the step that loads, and must find no image yet."""

    def transform(self, results):
        assert 'img' not in results
        return results


LOADERS = {
    'plain': [dict(type='LoadImage')],
    'second': [dict(type='Tag'), dict(type='LoadImage')],
    'nested': [
        dict(
            type='Compose',
            transforms=[
                dict(type='Tag'),
                dict(type='Compose', transforms=[dict(type='LoadImage')])
            ])
    ],
    'always':
    [dict(type='RandomApply', transforms=dict(type='LoadImage'), prob=1.0)],
    'choice':
    [dict(type='RandomChoice', transforms=[[dict(type='LoadImage')]])],
    'cv2': [dict(type='LoadImageFromFile', imdecode_backend='cv2')],
    'pillow': [dict(type='LoadImageFromFile', imdecode_backend='pillow')],
    'float': [dict(type='LoadImageFromFile', to_float32=True)],
    'gray': [
        dict(type='LoadImageFromFile', color_type='grayscale'),
        dict(type='ThreeChannels')
    ],
    'gray, pillow': [
        dict(
            type='LoadImageFromFile',
            color_type='grayscale',
            imdecode_backend='pillow'),
        dict(type='ThreeChannels')
    ],
    'unchanged': [dict(type='LoadImageFromFile', color_type='unchanged')],
}
ENDS = [[], [dict(type='Resize', scale=(30, 20))],
        [
            dict(
                type='Compose',
                transforms=[dict(type='CenterCrop', crop_size=(8, 6))])
        ]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    for part in ('train/good', 'test/good', 'test/bad', 'ground_truth/bad'):
        (root / 'x' / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, part in enumerate(('train/good', 'test/good', 'test/bad')):
        pixels = rng.integers(0, 256, (9, 12, 3), np.uint8)
        cv2.imwrite(str(root / 'x' / part / f'{number}.png'), pixels)
    cv2.imwrite(
        str(root / 'x/ground_truth/bad/2_mask.png'),
        np.eye(9, 12, dtype=np.uint8) * 255)
    return root


@pytest.mark.parametrize('loader', LOADERS)
@pytest.mark.parametrize('end', ENDS)
@pytest.mark.parametrize('has_masks', [True, False])
def test_files_and_arrays_reach_the_model_as_in_the_test(
        folder, loader, end, has_masks):
    init_default_scope('mmad')
    mask = [dict(type='LoadMask')] if has_masks else []
    steps = [*LOADERS[loader], *mask, *end, dict(type='PackInputs')]
    config = dict(
        type='AnomalyDataset',
        data_root=str(folder),
        category='x',
        split='test',
        pipeline=steps)
    dataset = DATASETS.build(config)
    pipeline = ImagePipeline(
        find_pipeline(dict(test_dataloader=dict(dataset=config)), 'x'))
    assert len(dataset) == 2
    for number in range(2):
        expected = dataset[number]
        path = dataset.get_data_info(number)['img_path']
        found = [
            pipeline(dict(img_path=path)),
            pipeline(dict(given=cv2.imread(path)))
        ]
        for packed in found:
            assert packed['inputs'].dtype == expected['inputs'].dtype
            assert (packed['inputs'] == expected['inputs']).all()
            for key in ('ori_shape', 'resized_shape', 'crop_offset'):
                assert packed['data_samples'].get(
                    key) == expected['data_samples'].get(key)


def test_a_loader_of_ones_own(tmp_path):
    init_default_scope('mmad')
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    pixels.tofile(tmp_path / 'a.raw')
    pipeline = ImagePipeline(
        [dict(type='LoadImageOfMine'),
         dict(type='PackInputs')])
    expected = pixels.transpose(2, 0, 1)
    for results in (dict(img_path=str(tmp_path / 'a.raw')),
                    dict(given=pixels)):
        originals = []
        packed = pipeline(dict(results, originals=originals))
        assert (packed['inputs'].numpy() == expected).all()
        assert (originals[0] == pixels).all()
    (tmp_path / 'b.raw').write_bytes(b'x')
    with pytest.raises(InputError, match=r'b\.raw" cannot be read \(Value'):
        pipeline(dict(img_path=str(tmp_path / 'b.raw')))


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_broken_file_is_named_by_any_decoder(tmp_path, backend):
    init_default_scope('mmad')
    (tmp_path / 'a.png').write_text('no image')
    pipeline = ImagePipeline([
        dict(type='LoadImageFromFile', imdecode_backend=backend),
        dict(type='PackInputs')
    ])
    for name in ('a.png', 'none.png'):
        with pytest.raises(InputError, match=rf'{name}" cannot be read \('):
            pipeline(dict(img_path=str(tmp_path / name)))


def test_instances_in_place_of_configs(tmp_path):
    Image.new('RGB', (4, 3), (1, 2, 3)).save(tmp_path / 'a.png')
    pipeline = ImagePipeline([LoadImage(), dict(type='PackInputs')])
    packed = pipeline(dict(img_path=str(tmp_path / 'a.png')))
    assert packed['inputs'][:, 0, 0].tolist() == [3, 2, 1]
    packed = pipeline(dict(given=np.zeros((3, 4, 3), np.uint8)))
    assert packed['inputs'].sum() == 0


def test_pipelines_one_behind_the_other():
    inner = dict(type='AnomalyDataset', pipeline=[dict(type='LoadImage')])
    outer = dict(
        type='Wrapper', dataset=inner, pipeline=[dict(type='PackInputs')])
    with pytest.raises(InputError, match='behind that of an inner'):
        find_pipeline(dict(test_dataloader=dict(dataset=outer)), 'x')
    outer['pipeline'] = []
    found = find_pipeline(dict(test_dataloader=dict(dataset=outer)), 'x')
    assert found == [dict(type='LoadImage')]
