import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmad.apis import AnomalyInferencer
from mmad.datasets.files import list_images
from mmad.errors import InputError


@pytest.fixture
def inferencer(fitted):
    return AnomalyInferencer(
        f'{fitted.work_dir}/epoch_1.pth', device='cpu', modules='conftest')


@pytest.fixture
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
    assert [sample.img_path for sample in predictions] == [
        str(path) for path in list_images(folder, recursive=True)
    ]
    for sample in predictions:
        torch.testing.assert_close(
            sample.pred_score, expected[sample.img_path].pred_score)


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
    (np.zeros((4, 4), np.uint8), r'got \(4, 4\) uint8'),
    (np.zeros((4, 4, 4), np.uint8), r'got \(4, 4, 4\) uint8'),
    (np.zeros((4, 4, 3)), r'got \(4, 4, 3\) float64'),
])
def test_wrong_arrays(inferencer, image, message):
    with pytest.raises(InputError, match=message):
        inferencer(image)


def test_empty_folder(inferencer, tmp_path):
    with pytest.raises(InputError, match='holds no images'):
        inferencer(tmp_path)
