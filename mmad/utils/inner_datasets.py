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


def inner_dataset_configs(dataset: dict) -> list[dict]:
    """Find the configs of the data sets inside those of wrappers.

    Args:
        dataset (dict): Config of a data set, or of a wrapper that has others
            as ``dataset`` or ``datasets``.

    Returns:
        list[dict]: The configs that contain no other, in order.
    """
    parts = dataset.get('datasets') or dataset.get('dataset')
    if isinstance(parts, dict):
        parts = [parts]
    if not parts or not all(isinstance(part, dict) for part in parts):
        return [dataset]
    return [inner for part in parts for inner in inner_dataset_configs(part)]
