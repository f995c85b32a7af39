import math

import cv2
import numpy as np
import pytest

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


def build(**kwargs):
    kwargs.setdefault('patch_size', 17)
    return TRANSFORMS.build(dict(type='RandomPatch', **kwargs))


@pytest.fixture
def image():
    """Each pixel tells its place: rows in blue, columns in green."""
    rows, columns = np.mgrid[:200, :240]
    return np.stack([rows, columns, np.full_like(rows, 77)],
                    2).astype(np.uint8)


def patch(transform, image, draw=0):
    return transform(dict(img=image, sample_idx=draw))['img']


def test_same_draw_same_patch(image):
    transform = build(positive=True)
    first = patch(transform, image, 5)
    assert first.shape == (17, 34, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, patch(build(positive=True), image, 5))
    assert not np.array_equal(first, patch(transform, image, 6))
    assert not np.array_equal(first,
                              patch(build(positive=True, seed=1), image, 5))


def test_scale_and_place(image):
    transform = build(gray=0)
    sides, tops, lefts = [], [], []
    for draw in range(300):
        cut = patch(transform, image, draw).astype(float)
        assert (cut[..., 2] == 77).all()
        # Pixels of the image per pixel of the patch.
        step = (cut[-2, 0, 0] - cut[1, 0, 0]) / 14
        assert step == pytest.approx(
            (cut[0, -2, 1] - cut[0, 1, 1]) / 14, abs=0.15)
        sides.append(200 / step / 17)
        tops.append(cut[0, 0, 0])
        lefts.append(cut[0, 0, 1])
    # The shorter side of the image in patches.
    assert 3.8 < min(sides) < 4.6
    assert 12 < max(sides) < 19
    assert min(tops) < 5
    assert max(tops) > 170
    assert min(lefts) < 5
    assert max(lefts) > 205


def test_is_a_crop_of_the_resized_image(image):
    # 4 times 25 pixels, half of the image; cut at whole pixels of it.
    cut = patch(build(patch_size=25, scale=(4, 4), gray=0), image)
    small = cv2.resize(
        image, None, fx=0.5, fy=0.5,
        interpolation=cv2.INTER_AREA).astype(float)
    top, left = np.unravel_index(
        np.abs(small[..., :2] - cut[0, 0, :2]).sum(2).argmin(), (100, 120))
    part = small[top:top + 25, left:left + 25]
    assert np.abs(part - cut[:len(part), :part.shape[1]]).max() <= 2


def test_gray(image):
    transform = build()
    gray = sum(
        np.ptp(patch(transform, image, draw), axis=2).max() == 0
        for draw in range(400))
    assert 25 <= gray <= 58


def test_varied_version(image):
    transform = build(positive=True, gray=0, noise=0, contrast=0)
    shifts = []
    for draw in range(100):
        both = patch(transform, image, draw).astype(float)
        step = (both[-2, 0, 0] - both[1, 0, 0]) / 14
        shifts.append((both[8, 25, :2] - both[8, 8, :2]) / step / 17)
    assert 0.15 < np.abs(shifts).max() < 0.3
    noisy = patch(
        build(positive=True, gray=0, shift=0),
        np.full((200, 200, 3), 128, np.uint8), 1).astype(float)
    assert noisy[:, :17].std() == 0
    assert 20 < noisy[:, 17:].std() < 31
    assert 0 < abs(noisy[:, 17:].mean() - 128) < 30


def test_image_smaller_than_the_patch():
    small = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    for draw in range(20):
        assert patch(build(patch_size=65), small, draw).shape == (65, 65, 3)


@pytest.mark.parametrize(('kwargs', 'message'),
                         [(dict(patch_size=0), '`patch_size` must be'),
                          (dict(scale=(5, 4)), 'two ascending numbers'),
                          (dict(scale=(0.5, 4)), r'`scale\[0\]` must be'),
                          (dict(gray=2), '`gray` must be'),
                          (dict(noise=-1), '`noise` must be'),
                          (dict(noise=math.nan), '`noise` must be'),
                          (dict(shift=math.inf), '`shift` must be'),
                          (dict(contrast='1'), '`contrast` must be'),
                          (dict(seed=0.5), '`seed` must be')])
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        build(**kwargs)
