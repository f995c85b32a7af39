import copy
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmad.apis import AnomalyInferencer
from mmad.datasets.files import list_images
from mmad.errors import InputError
from mmad.utils import load_checkpoint


@pytest.fixture(scope='module')
def inferencer(fitted):
    return AnomalyInferencer(
        f'{fitted.work_dir}/epoch_1.pth', device='cpu', modules='tiny_models')


@pytest.fixture(scope='module')
def expected(fitted):
    """What the test loop gives, by path."""
    dataset = fitted.build_dataloader(fitted.cfg.test_dataloader).dataset
    fitted.model.eval()
    with torch.no_grad():
        samples = fitted.model.test_step(pseudo_collate(list(dataset)))
    return {sample.img_path: sample for sample in samples}


def test_files(inferencer, expected):
    predictions = inferencer(list(expected), batch_size=8)
    assert [sample.img_path for sample in predictions] == list(expected)
    for sample, other in zip(predictions, expected.values()):
        assert torch.equal(sample.pred_score, other.pred_score)
        assert torch.equal(sample.pred_map, other.pred_map)
        assert sample.pred_map.shape == (48, 48)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_folder(inferencer, expected, mvtec_root, batch_size):
    folder = mvtec_root / 'bottle' / 'test'
    predictions = inferencer(folder, batch_size)
    assert [sample.img_path for sample in predictions
            ] == [str(path) for path in list_images(folder, recursive=True)]
    for sample in predictions:
        torch.testing.assert_close(sample.pred_score,
                                   expected[sample.img_path].pred_score)


def test_arrays(inferencer, expected):
    path, other = list(expected.items())[-1]
    image = cv2.imread(path)
    for images in (image, [image], path, [path]):
        sample, = inferencer(images)
        torch.testing.assert_close(sample.pred_score, other.pred_score)
        torch.testing.assert_close(sample.pred_map, other.pred_map)
    assert sample.ori_shape == image.shape[:2]


def test_stream_is_lazy(inferencer, expected):
    stream = inferencer.stream([next(iter(expected)), 'none.png'], 1)
    assert next(stream).pred_score >= 0
    with pytest.raises(InputError, match=r'none\.png" cannot be read'):
        next(stream)


@pytest.mark.parametrize(('image', 'message'), [
    (np.zeros((4, 4), np.uint16), r'is \(4, 4\) uint16'),
    (np.zeros((4, 4, 4), np.uint8), r'is \(4, 4, 4\) uint8'),
    (np.zeros((4, 4, 3)), r'is \(4, 4, 3\) float64'),
])
def test_wrong_arrays(inferencer, image, message):
    with pytest.raises(InputError, match=message):
        inferencer(image)


def test_empty_folder(inferencer, tmp_path):
    with pytest.raises(InputError, match='holds no images'):
        inferencer(tmp_path)


def test_batch_size_hardly_matters(inferencer, expected):
    for batch_size in (1, 3, np.int64(5), 100):
        for sample in inferencer(list(expected), batch_size):
            other = expected[sample.img_path]
            torch.testing.assert_close(
                sample.pred_map, other.pred_map, rtol=1e-5, atol=1e-5)


def test_stream_takes_no_more_than_a_batch(inferencer, expected):
    taken = []

    def give():
        for path in expected:
            taken.append(path)
            yield path

    stream = inferencer.stream(give(), 3)
    assert taken == []
    next(stream)
    assert len(taken) == 3
    assert len(list(stream)) == len(expected) - 1


@pytest.mark.parametrize('images', [
    None, 3, 2.5, b'x.png',
    bytearray(b'x'), {},
    dict(a='x.png'),
    torch.zeros(3, 4, 4), '', 'none.png', 'a\0b.png',
    Path('none')
])
@pytest.mark.parametrize('call', ['__call__', 'stream'])
def test_no_images(inferencer, images, call):
    with pytest.raises(InputError) as caught:
        getattr(inferencer, call)(images)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('image', [
    None, 3, b'x.png', {}, ['x.png'], ('x.png', ),
    torch.zeros(4, 4, 3),
    torch.zeros(3, 4, 4, dtype=torch.uint8),
    np.zeros(4, np.uint8),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((2, 4, 4, 3), np.uint8),
    np.zeros((3, 4, 4), np.uint8),
    np.zeros((4, 4, 3)),
    np.zeros((4, 4, 3), np.uint16),
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((0, 4, 3), np.uint8),
    np.zeros((4, 4, 3), object),
    Image.new('I', (4, 4)),
    Image.new('F', (4, 4)),
    Image.new('I;16', (4, 4)),
    Image.new('RGB', (0, 4))
])
def test_one_of_many_is_no_image(inferencer, expected, image):
    good = next(iter(expected))
    stream = inferencer.stream([good, good, image], 2)
    next(stream)
    next(stream)
    with pytest.raises(InputError, match='image number 2') as caught:
        next(stream)
    assert '\n' not in str(caught.value)
    assert 'cannot be read' not in str(caught.value)


def test_one_of_many_cannot_be_read(inferencer, expected, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'x')
    for bad, words in (('none.png', 'none.png'), (tmp_path / 'broken.png',
                                                  'broken.png'),
                       (str(tmp_path), 'broken.png'), (tmp_path, 'broken')):
        with pytest.raises(InputError, match=words):
            inferencer([next(iter(expected)), bad])


def test_array_that_a_step_refuses(fitted, tmp_path):
    cfg = copy.deepcopy(fitted.cfg)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImage'),
        dict(type='CenterCrop', crop_size=48),
        dict(type='PackInputs')
    ]
    inferencer = AnomalyInferencer(f'{fitted.work_dir}/epoch_1.pth', cfg,
                                   'cpu')
    good = np.zeros((48, 48, 3), np.uint8)
    with pytest.raises(InputError, match=r'^image number 1: .*smaller than'):
        inferencer([good, good[:20]])


@pytest.mark.parametrize('batch_size',
                         [0, -1, 1.5, None, True, '2', 2.0,
                          float('nan'), [1]])
@pytest.mark.parametrize('call', ['__call__', 'stream'])
def test_wrong_batch_size(inferencer, expected, batch_size, call):
    with pytest.raises(InputError, match='`batch_size` must be a whole'):
        getattr(inferencer, call)(list(expected), batch_size)


def test_nothing_to_score(inferencer):
    assert inferencer([]) == []


@pytest.mark.parametrize('change', [
    lambda a: a[::-1][::-1], lambda a: a[..., ::-1].copy()[..., ::-1],
    np.asfortranarray, lambda a: np.pad(a, 1)[1:-1, 1:-1, 1:-1],
    lambda a: a.view(np.ma.MaskedArray), lambda a: [a], lambda a: iter([a]),
    lambda a:
    (a, ), lambda a: np.frombuffer(a.tobytes(), np.uint8).reshape(a.shape)
])
def test_layout_of_an_array(inferencer, expected, change):
    path = list(expected)[-1]
    array = cv2.imread(path)
    before = array.copy()
    sample, = inferencer(change(array), batch_size=1)
    reference, = inferencer(path, batch_size=1)
    assert torch.equal(sample.pred_map, reference.pred_map)
    assert np.array_equal(array, before)


MODES = ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK']


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('orientation', [None, 1, 3, 6])
def test_pillow_image_is_read_as_its_file(inferencer, tmp_path, mode,
                                          orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 4), np.uint8)
    image = Image.fromarray(pixels).convert('RGBA' if mode in (
        'LA', 'RGBA') else 'RGB').convert(mode)
    if orientation is not None:
        image.getexif()[0x0112] = orientation
    path = tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png')
    image.save(path, exif=image.getexif())
    from_file, = inferencer(path)
    with Image.open(path) as opened:
        assert opened.mode == mode
        samples = inferencer(opened)
    if mode != 'CMYK':  # which JPEG changes
        samples += inferencer(image)
    for sample in samples:
        assert torch.equal(sample.pred_map, from_file.pred_map)
        assert sample.ori_shape == from_file.ori_shape


def test_palette_with_transparency(inferencer, tmp_path):
    image = Image.fromarray(np.arange(256,
                                      dtype=np.uint8).reshape(16,
                                                              16)).convert('P')
    image.info['transparency'] = 3
    image.save(tmp_path / 'a.png')
    (one, ), (other, ) = inferencer(image), inferencer(tmp_path / 'a.png')
    assert torch.equal(one.pred_map, other.pred_map)


def test_truncated_pillow_image(inferencer, expected, tmp_path):
    data = Path(next(iter(expected))).read_bytes()
    image = Image.open(io.BytesIO(data[:len(data) // 2]))
    with pytest.raises(InputError, match='image number 0, a PIL image'):
        inferencer(image)


@pytest.mark.parametrize('batch_size', [1, 2, 8])
def test_several_sizes_are_refused(fitted, batch_size):
    cfg = copy.deepcopy(fitted.cfg)
    cfg.test_dataloader.dataset.pipeline = [dict(type='PackInputs')]
    inferencer = AnomalyInferencer(f'{fitted.work_dir}/epoch_1.pth', cfg,
                                   'cpu')
    images = [
        np.zeros((height, width, 3), np.uint8)
        for height, width in ((48, 48), (48, 48), (64, 48))
    ]
    with pytest.raises(InputError, match=r'48x64.*Resize'):
        inferencer(images, batch_size)


def test_no_gradients_and_none_forbidden(inferencer, expected):
    stream = inferencer.stream(list(expected), 1)
    assert not next(stream).pred_map.requires_grad
    assert torch.is_grad_enabled()


def test_original_map(inferencer, expected):
    path = next(iter(expected))
    image = cv2.imread(path)
    for given in (path, image, Image.open(path)):
        sample, = inferencer(given)
        whole = sample.original_map()
        assert whole.shape == image.shape[:2]
        # The pipeline crops 52 x 60 pixels to 48 x 48.
        assert whole[0].isnan().all()
        assert whole[:, 0].isnan().all()
        assert not whole[4:-4, 8:-8].isnan().any()


def test_config_without_a_pipeline(fitted):
    cfg = copy.deepcopy(fitted.cfg)
    cfg.test_dataloader = None
    with pytest.raises(InputError, match='has no test pipeline'):
        AnomalyInferencer(f'{fitted.work_dir}/epoch_1.pth', cfg, 'cpu')


@pytest.mark.parametrize(('old', 'new'), [
    ("type='Resize'", "type='Resize', interpolation='__class__'"),
    ("type='Resize'", "type='Resize', backend='x'"),
    ('scale=', "scale=('a', 'b'), scale_factor="),
    ("type='PackInputs'", "type='RandomPatch', patch_size=17"),
    ("type='ImgDataPreprocessor'",
     "type='ImgDataPreprocessor', pad_size_divisor='x'"),
    ("type='ImgDataPreprocessor'",
     "type='ImgDataPreprocessor', pad_size_divisor=0"),
])
def test_values_of_a_stranger_end_in_a_sentence(fitted, tmp_path, old, new):
    state = load_checkpoint(f'{fitted.work_dir}/epoch_1.pth')
    text = state['meta']['cfg']
    assert old in text
    state['meta']['cfg'] = text.replace(old, new)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth"|`config=`') as caught:
        AnomalyInferencer(
            tmp_path / 'a.pth', device='cpu', modules='tiny_models')(
                np.zeros((48, 56, 3), dtype=np.uint8))
    assert str(caught.value).isprintable()


def test_what_is_trusted_keeps_its_traceback(fitted, monkeypatch):
    inferencer = AnomalyInferencer(f'{fitted.work_dir}/epoch_1.pth',
                                   fitted.cfg, 'cpu')

    def fail(data):
        raise RuntimeError('a bug')

    monkeypatch.setattr(inferencer.model, 'test_step', fail)
    with pytest.raises(RuntimeError, match='a bug'):
        inferencer(np.zeros((48, 56, 3), dtype=np.uint8))
