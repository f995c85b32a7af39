"""Match mask files to image files."""
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmad.errors import InputError

from .files import Skipped, add_skipped, find_names, relative_stem


def match_masks(defective: Iterable[str], images: Iterable[str],
                image_root: Path,
                mask_root: Path) -> tuple[dict[str, str], Skipped]:
    """Match each defective image with its mask file.

    The mask of the image ``scratch/000.*`` may be ``scratch/000_mask.png`` or
    ``scratch/000.png``. Masks that match only one image are assigned first,
    so ``000_mask.png`` may also be the name of an image.

    Args:
        defective (Iterable[str]): Images that need a mask.
        images (Iterable[str]): All images that may have a mask.
        image_root (Path): Folder that paths of images are relative to.
        mask_root (Path): Folder that paths of masks are relative to.

    Returns:
        tuple[dict[str, str], Skipped]: The mask of each defective image,
        and the skipped files of the mask folder, by reason.

    Raises:
        InputError: If an image has no mask, an image might have several
            masks, or several images might have the same mask.
    """
    found, skipped = find_names(mask_root, recursive=True)
    files: dict[str, tuple[str, ...]] = {}
    for path in found:
        stem = relative_stem(path, mask_root)
        files[stem] = (*files.get(stem, ()), path)
    masks = _assign(defective, image_root, files, mask_root)
    used = set(masks.values())
    unused = [path for path in found if path not in used]
    if unused:
        stems = {relative_stem(path, image_root) for path in images}
        unused = [
            path for path in unused
            if (stem := relative_stem(path, mask_root)) not in stems
            and stem.removesuffix('_mask') not in stems
        ]
    return masks, add_skipped(skipped, {'masks without an image': unused})


def _assign(images: Iterable[str], image_root: Path,
            masks: Mapping[str,
                           Sequence[str]], mask_root: Path) -> dict[str, str]:
    choices = {}
    for image in images:
        stem = relative_stem(image, image_root)
        choices[image] = [*masks.get(f'{stem}_mask', ()), *masks.get(stem, ())]
        if not choices[image]:
            raise InputError(
                f'image "{image}" has no mask; expected '
                f'"{mask_root / stem}_mask.png" (or remove the folder of '
                'masks to go without pixel-level metrics).')
    owner: dict[str, str] = {}
    pending = [image for image, files in choices.items() if len(files) == 1]
    rivals = defaultdict(list)
    for image, files in choices.items():
        if len(files) > 1:
            for file in files:
                rivals[file].append(image)
    while pending:
        image = pending.pop()
        mask, = choices[image]
        if mask in owner:
            raise InputError(
                f'mask "{mask}" might belong to "{owner[mask]}" or to '
                f'"{image}"; give each image its own name and its own mask.')
        owner[mask] = image
        for rival in rivals.get(mask, ()):
            files = choices[rival]
            if len(files) > 1:
                files.remove(mask)
                if len(files) == 1:
                    pending.append(rival)
    for image, files in choices.items():
        if len(files) > 1:
            raise InputError(
                f'image "{image}" might have the mask "{files[0]}" or '
                f'"{files[1]}"; keep only the right one.')
    return {image: files[0] for image, files in choices.items()}
