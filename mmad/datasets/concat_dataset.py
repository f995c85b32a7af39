from mmengine.dataset import ConcatDataset as _ConcatDataset

from mmad.registry import DATASETS


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """MMEngine's data set of several, with its images numbered through.

    The numbers of the parts would occur several times, and what is fitted
    tells images by them.
    """

    def get_data_info(self, idx: int) -> dict:
        """Describe an image by its position in all parts together."""
        return dict(super().get_data_info(idx), sample_idx=idx)

    def __getitem__(self, idx: int) -> dict:
        data = super().__getitem__(idx)
        data['data_samples'].set_metainfo(dict(sample_idx=idx))
        return data
