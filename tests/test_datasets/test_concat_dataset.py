import pytest

from mmad.datasets import AnomalyDataset, ConcatDataset
from mmad.registry import DATASETS

PIPELINE = [dict(type='LoadImage'), dict(type='PackInputs')]


@pytest.mark.parametrize('lazy', [False, True])
def test_images_are_numbered_through(mvtec_root, lazy):
    part = dict(
        type='AnomalyDataset',
        data_root=str(mvtec_root),
        category='bottle',
        split='train',
        pipeline=PIPELINE)
    dataset = DATASETS.build(
        dict(
            type='ConcatDataset',
            lazy_init=lazy,
            datasets=[dict(part, indices=4),
                      dict(part, indices=[6, 2, 5])]))
    assert isinstance(dataset, ConcatDataset)
    dataset.full_init()
    samples = [dataset[i]['data_samples'] for i in range(len(dataset))]
    assert [sample.sample_idx for sample in samples] == list(range(7))
    assert [dataset.get_data_info(i)['sample_idx']
            for i in range(7)] == list(range(7))
    whole = AnomalyDataset(str(mvtec_root), 'train', 'bottle', PIPELINE)
    assert [sample.img_path for sample in samples] == [
        whole.get_data_info(i)['img_path'] for i in [0, 1, 2, 3, 6, 2, 5]
    ]
