from torch import nn


def describe_normalization(
        data_preprocessor: dict | nn.Module | None) -> dict | None:
    """Describe how a data preprocessor normalizes images.

    Args:
        data_preprocessor (dict | nn.Module, optional): Config of an
            ``ImgDataPreprocessor``, or one.

    Returns:
        dict | None: Mean and standard deviation of each channel and whether
        channels are reversed; None if images are left as they are.
    """
    if data_preprocessor is None:
        return None
    if isinstance(data_preprocessor, nn.Module):
        mean, std = (
            getattr(data_preprocessor, name).flatten().tolist() if hasattr(
                data_preprocessor, name) else None for name in ('mean', 'std'))
        reversed_channels = data_preprocessor._channel_conversion
    else:
        mean = data_preprocessor.get('mean')
        std = data_preprocessor.get('std')
        reversed_channels = data_preprocessor.get(
            'bgr_to_rgb', False) or data_preprocessor.get('rgb_to_bgr', False)
    return dict(
        # As float32 rounds them, which a module has them in.
        mean=None if mean is None else [round(value, 3) for value in mean],
        std=None if std is None else [round(value, 3) for value in std],
        reversed_channels=bool(reversed_channels))
