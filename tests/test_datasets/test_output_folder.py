import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image

from mmad.datasets.output_folder import check_output_folder
from mmad.errors import InputError
from mmad.registry import DATASETS


@pytest.fixture
def datasets(tmp_path):
    for name in ('train/good/0', 'test/good/1', 'test/cut/2',
                 'ground_truth/cut/2'):
        path = tmp_path / 'data' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (8, 6), len(name)).save(path)
    return [
        DATASETS.build(
            dict(
                type='AnomalyDataset',
                split=split,
                data_root=str(tmp_path / 'data')))
        for split in ('train', 'test')
    ]


@pytest.mark.parametrize('place', [
    'data/test', 'data/train', 'data/ground_truth', 'data/test/good',
    'data/test/cut/new', 'data/new/../test', 'link'
])
def test_what_might_replace_data(datasets, tmp_path, place):
    (tmp_path / 'link').symlink_to('data/train', True)
    with pytest.raises(InputError, match='might replace'):
        check_output_folder(tmp_path / place, datasets)
    with pytest.raises(InputError, match='might replace'):
        check_output_folder(tmp_path / place, [ConcatDataset(datasets)])


@pytest.mark.parametrize(
    'place',
    ['.', '..', 'data', 'data/new', 'new', 'data/test/new', 'data/test2'])
def test_other_folders(datasets, tmp_path, place):
    check_output_folder(tmp_path / place, datasets)


def test_images_that_are_no_files(tmp_path):
    digits = DATASETS.build(
        dict(
            type='OneClassDataset',
            name='digits',
            category='1',
            split='test',
            data_root=str(tmp_path)))
    check_output_folder(tmp_path, [digits, object()])
