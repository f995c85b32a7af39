"""Functions that track where the image of a pipeline lies in the original."""


def current_frame(
        results: dict) -> tuple[tuple[int, int], tuple[int, int]] | str:
    """Find where the image of a pipeline lies in the resized original.

    The transforms of mmad note it. After others it is derived from mmcv's
    ``scale_factor``, if they only resized the image.

    Args:
        results (dict): What the pipeline knows after the steps so far.

    Returns:
        tuple[tuple[int, int], tuple[int, int]] | str: Height and width of the
        original after resizing, and top and left of the image in it; or why
        they are not known.
    """
    if results.get('frame_lost'):
        return results['frame_lost']
    if results.get('flip'):
        return 'it was flipped'
    shape = tuple(results['img'].shape[:2])
    noted = results.get('frame')
    if noted is not None:
        if noted[0] == shape:
            return noted[1:]
    elif results.get('ori_shape') is not None:
        width, height = results.get('scale_factor', (1, 1))
        expected = (round(results['ori_shape'][0] * height),
                    round(results['ori_shape'][1] * width))
        if expected == shape:
            return shape, (0, 0)
    return ('it was cropped, padded or resized again, in a way that mmad does '
            'not know')


def note_frame(results: dict, resized: tuple[int, int],
               offset: tuple[int, int]) -> None:
    """Note where the image lies now, for the steps that follow.

    Args:
        results (dict): With the image as it is now.
        resized (tuple[int, int]): Height and width of the original after
            resizing, before the crop or border.
        offset (tuple[int, int]): Top and left of the image in it.
    """
    results['frame'] = (tuple(results['img'].shape[:2]), resized, offset)
    results['resized_shape'] = resized
    results['crop_offset'] = offset


def note_crop(results: dict, before: tuple | str, shape: tuple[int, int],
              offset: tuple[int, int]) -> None:
    """Note where the image lies after a crop.

    Args:
        results (dict): With the image after the crop.
        before (tuple | str): :func:`current_frame` before the crop.
        shape (tuple[int, int]): Height and width before the crop.
        offset (tuple[int, int]): Top and left edge of the crop.
    """
    if isinstance(before, str):
        results['frame_lost'] = before
    else:
        shape = before[0]
        offset = (before[1][0] + offset[0], before[1][1] + offset[1])
    note_frame(results, shape, offset)
