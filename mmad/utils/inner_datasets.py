from typing import Any


def inner_datasets(dataset: Any) -> list:
    """Find the data sets inside the wrappers of MMEngine and PyTorch.

    Args:
        dataset (Any): A data set, or a wrapper that has it as ``dataset``
            (RepeatDataset) or several as ``datasets`` (ConcatDataset).

    Returns:
        list: The data sets that wrap no other, in order.
    """
    if hasattr(dataset, 'datasets'):
        return [
            inner for part in dataset.datasets
            for inner in inner_datasets(part)
        ]
    if hasattr(dataset, 'dataset'):
        return inner_datasets(dataset.dataset)
    return [dataset]
