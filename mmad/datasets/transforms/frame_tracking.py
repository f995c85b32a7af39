"""Track the place of the image of a pipeline in the original image."""


def current_frame(
        results: dict) -> tuple[tuple[int, int], tuple[int, int]] | str:
    """Find the place of the current image in the resized original image.

    The transforms of mmad record it. After other transforms, it is derived
    from the ``scale_factor`` of MMCV, if they only resized the image.

    Args:
        results (dict): Results of the pipeline so far.

    Returns:
        tuple[tuple[int, int], tuple[int, int]] | str: Height and width of the
        original image after resizing, and top and left of the current image
        in it; or the reason why they are not known.
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
    """Record the place of the current image, for the following steps.

    Args:
        results (dict): Results with the current image.
        resized (tuple[int, int]): Height and width of the original image
            after resizing, before the crop or border.
        offset (tuple[int, int]): Top and left of the current image in it.
    """
    results['frame'] = (tuple(results['img'].shape[:2]), resized, offset)
    results['resized_shape'] = resized
    results['crop_offset'] = offset


def note_crop(results: dict, before: tuple | str, shape: tuple[int, int],
              offset: tuple[int, int]) -> None:
    """Record the place of the current image after a crop.

    Args:
        results (dict): Results with the image after the crop.
        before (tuple | str): Result of :func:`current_frame` before the crop.
        shape (tuple[int, int]): Height and width before the crop.
        offset (tuple[int, int]): Top and left edge of the crop.
    """
    if isinstance(before, str):
        results['frame_lost'] = before
    else:
        shape = before[0]
        offset = (before[1][0] + offset[0], before[1][1] + offset[1])
    note_frame(results, shape, offset)
