import cv2
import numpy as np
import pytest

from mmad.apis import AnomalyInferencer
from mmad.apis.images import count_images, find_images
from mmad.apis.video import Video
from mmad.errors import InputError


@pytest.fixture
def inferencer(fitted):
    return AnomalyInferencer(
        f'{fitted.work_dir}/epoch_1.pth', device='cpu', modules='tiny_models')


class Capture:
    """Stands in for a camera of six images, or a file of `length`."""

    images = [
        np.random.default_rng(n).integers(0, 256, (50, 60, 3), np.uint8)
        for n in range(6)
    ]
    length = -1
    opened = True
    released = 0

    def __init__(self, source):
        self.source, self.taken = source, 0

    def isOpened(self):  # noqa: N802
        return self.opened

    def get(self, key):
        return self.length

    def read(self):
        if self.taken == len(self.images):
            return False, None
        self.taken += 1
        return True, self.images[self.taken - 1]

    def release(self):
        type(self).released += 1


@pytest.fixture
def capture(monkeypatch):

    class Mock(Capture):
        pass

    monkeypatch.setattr(cv2, 'VideoCapture', Mock)
    return Mock


@pytest.mark.parametrize('batch_size', [1, 4, 10])
@pytest.mark.parametrize('source', [0, 'rtsp://user:secret@host/part'])
def test_camera_that_goes_away(capture, inferencer, batch_size, source):
    name = 'camera 0' if source == 0 else 'rtsp://host/part'
    expected = inferencer(capture.images, batch_size)
    stream = inferencer.stream(source, batch_size)
    samples = []
    with pytest.raises(InputError, match='no more images after 6') as caught:
        samples.extend(stream)
    assert name in str(caught.value)
    assert 'secret' not in str(caught.value)
    # Nothing that it gave is lost.
    for number, (sample,
                 other) in enumerate(zip(samples, expected, strict=True)):
        assert (sample.pred_map == other.pred_map).all()
        assert sample.img_path == name
        assert sample.frame_index == number
    assert capture.released == 1

    *samples, last = inferencer.stream(source, batch_size, strict=False)
    assert len(samples) == 6
    assert 'no more images' in last.error
    assert 'pred_score' not in last


def test_stream_takes_no_frame_too_many(capture, inferencer):
    taken = []
    read = capture.read
    capture.read = lambda self: (taken.append(1), read(self))[1]
    stream = inferencer.stream(0, 2)
    assert taken == []
    next(stream)
    assert len(taken) == 2
    stream.close()


def test_camera_is_opened_at_once(capture, inferencer):
    capture.opened = False
    for source in (0, 'http://host/x'):
        with pytest.raises(InputError, match='cannot be opened: nothing'):
            inferencer.stream(source)
    assert capture.released == 2


@pytest.mark.parametrize(('length', 'is_whole'), [(0, True), (-1, True),
                                                  (6, True), (7, True),
                                                  (9, False), (100, False)])
def test_file_that_ends_too_soon(capture, tmp_path, length, is_whole):
    (tmp_path / 'a.mp4').touch()
    capture.length = length
    video = find_images(str(tmp_path / 'a.mp4'))
    frames = []
    if is_whole:
        frames.extend(video)
    else:
        with pytest.raises(InputError, match=rf'after 6 frames of {length};'):
            frames.extend(video)
    assert len(frames) == 6


def test_file_without_frames(capture, tmp_path):
    capture.images = []
    (tmp_path / 'a.mp4').touch()
    with pytest.raises(InputError, match='ended after 0'):
        list(find_images(tmp_path / 'a.mp4'))


def test_file_among_images(inferencer, tmp_path, capture):
    cv2.imwrite(str(tmp_path / 'a.png'), capture.images[0])
    for name in ('a.mp4', 'b.AVI'):
        (tmp_path / name).touch()
    given = [tmp_path / name for name in ('a.png', 'a.mp4', 'b.AVI', 'a.png')]
    images = find_images(given)
    assert count_images(images) is None
    samples = inferencer(given, batch_size=4)
    assert [
        (sample.img_path, sample.get('frame_index')) for sample in samples
    ] == [(str(given[0]), None), *((str(given[1]), n) for n in range(6)),
          *((str(given[2]), n) for n in range(6)), (str(given[3]), None)]
    # A broken one does not stop the rest.
    capture.opened = False
    samples = inferencer(given, strict=False)
    assert ['error' in sample
            for sample in samples] == [False, True, True, False]


def test_gray_camera(capture):
    capture.images = [np.full((4, 5), 7, np.uint8)]
    frame = next(iter(Video(0)))
    assert (frame.image == np.full((4, 5, 3), 7)).all()


def test_real_file(tmp_path):
    file = str(tmp_path / 'a.avi')
    writer = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*'MJPG'), 10,
                             (64, 48))
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no video')
    for value in (0, 100, 200):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    frames = list(find_images(file))
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame, value in zip(frames, (0, 100, 200)):
        assert abs(frame.image.astype(int) - value).max() < 5
    (tmp_path / 'b.avi').write_text('no video')
    with pytest.raises(InputError, match='damaged'):
        find_images(tmp_path / 'b.avi')
