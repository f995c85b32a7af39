from mmengine.dataset import ConcatDataset, RepeatDataset
from torch.utils.data import Subset

from mmad.datasets import AnomalyDataset
from mmad.utils.inner_datasets import inner_datasets


def test_inner_datasets(mvtec_root):
    train, test = (
        AnomalyDataset(mvtec_root, split, 'bottle')
        for split in ('train', 'test'))
    assert inner_datasets(train) == [train]
    assert inner_datasets(RepeatDataset(train, 2)) == [train]
    assert inner_datasets(Subset(train, [0])) == [train]
    assert inner_datasets(ConcatDataset([train, test])) == [train, test]
    assert inner_datasets(None) == [None]
