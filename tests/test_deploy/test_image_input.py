from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmad.deploy.image_input import ImageInput
from mmad.errors import InputError

LOAD, PACK = dict(type='LoadImage'), dict(type='PackInputs')


def read(*steps, input_size=(0, 0)):
    return ImageInput.of(
        SimpleNamespace(
            cfg=Config(
                dict(
                    test_dataloader=dict(
                        dataset=dict(pipeline=[LOAD, *steps, PACK])))),
            input_size=torch.tensor(input_size)), 'a.pth')


def test_resize_and_crops():
    found = read(
        dict(type='Resize', scale=(50, 41), backend='pillow'),
        dict(type='CenterCrop', crop_size=(41, 40)),
        dict(type='CenterCrop', crop_size=20))
    assert found.size == (41, 50)
    assert found.resize == dict(
        height=41,
        width=50,
        keep_ratio=False,
        interpolation='bilinear',
        backend='pillow')
    # As the transforms round: 0.5 to 0, 4.5 to 4, 10.5 to 10.
    assert found.crop == (slice(10, 30), slice(14, 34))


def test_images_of_one_size():
    found = read(input_size=(30, 40))
    assert found == ((30, 40), None, (slice(0, 30), slice(0, 40)))


@pytest.mark.parametrize(('steps', 'message'), [
    ([dict(type='Letterbox', scale=64)], 'Letterbox has no place'),
    ([dict(type='RandomPose', angle=5, crop_size=9)], 'RandomPose has no'),
    ([dict(type='CenterCrop', crop_size=9)], 'CenterCrop has no place'),
    ([dict(type='Resize', scale=(64, 64), keep_ratio=True)], 'keep_ratio'),
    ([dict(type='Resize', scale_factor=0.5)], 'scale_factor'),
    ([dict(type='Resize', scale=(8, 8)),
      dict(type='CenterCrop', crop_size=9)
      ], 'crops 9x9 pixels from images of 8x8'),
    ([dict(type='Resize', scale=(64, 32))], 'fitted with 8x8')
])
def test_steps_that_depend_on_the_image(steps, message):
    with pytest.raises(InputError, match=message):
        read(*steps, input_size=(8, 8))


def test_no_pipeline():
    with pytest.raises(InputError, match='no test pipeline'):
        ImageInput.of(SimpleNamespace(cfg=Config()), 'a.pth')
