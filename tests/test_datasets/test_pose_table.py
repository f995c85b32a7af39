import pytest

from mmad.datasets.pose_table import find_pose, read_poses, write_poses
from mmad.errors import InputError

POSES = {
    'train/good/000.png': (-170.25, 0.5, 0.25),
    'test/good/000.png': (30.0, 0.125, 1.0),
    '000.png': (0.0, 0.0, 0.0)
}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 'poses.csv'
    write_poses(path, POSES.items())
    assert read_poses(path) == POSES


def test_longest_end_of_the_path_counts():
    assert find_pose(POSES, '/data/test/good/000.png')[0] == 30
    assert find_pose(POSES, 'data/train/good/000.png')[0] == -170.25
    assert find_pose(POSES, '/data/other/000.png')[0] == 0
    with pytest.raises(InputError, match='does not list'):
        find_pose(POSES, '/data/other/1000.png')


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'file,angle,x,y'),
    ('file,angle,x\na.png,1,2\n', 'file,angle,x,y'),
    ('file,angle,x,y\na.png,1,2,3\nb.png,1,,3\n', 'poses.csv:3'),
    ('file,angle,x,y\na.png,1,nan,3\n', 'poses.csv:2'),
    ('file,angle,x,y\na.png,1,2\n', 'poses.csv:2'),
])
def test_what_is_wrong_is_named(tmp_path, text, message):
    path = tmp_path / 'poses.csv'
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_poses(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match='No such file'):
        read_poses(tmp_path / 'missing.csv')
    path = tmp_path / 'poses.csv'
    path.write_bytes(b'file,angle,x,y\n\xff\xfe')
    with pytest.raises(InputError, match='cannot be read'):
        read_poses(path)
