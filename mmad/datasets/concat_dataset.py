from mmengine.dataset import ConcatDataset as _ConcatDataset

from mmad.registry import DATASETS


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """Concatenation of data sets, with unique sample indices.

    In the data set of MMEngine, the indices of the parts would repeat, but
    models that are fitted identify images by them.
    """

    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of an image, with its position in all parts."""
        return dict(super().get_data_info(idx), sample_idx=idx)

    def __getitem__(self, idx: int) -> dict:
        data = super().__getitem__(idx)
        data['data_samples'].set_metainfo(dict(sample_idx=idx))
        return data
