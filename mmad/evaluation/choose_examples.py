from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """An image that may be looked at.

    Attributes:
        position (int): Position in the data set, which breaks ties.
        kind (str | None): Defect type, None for a normal image.
        score (float): Anomaly score.
    """

    position: int
    kind: str | None
    score: float


def choose_examples(images: Sequence[Candidate],
                    limit: int) -> list[Candidate]:
    """Choose the images of a large set that are most worth looking at.

    Half of them are normal, the other half is divided evenly among the defect
    types. Three of four are those that any threshold is most likely to get
    wrong: normal images with the highest scores, and defective ones with the
    lowest. The rest are those with the opposite scores.

    A choice among earlier choices and new images is the same as among all of
    them, so a long test needs to keep only what was chosen so far.

    Args:
        images (Sequence[Candidate]): The images, in any order.
        limit (int): Largest number of images.

    Returns:
        list[Candidate]: The chosen images by position.
    """
    groups: dict[str | None, list[Candidate]] = defaultdict(list)
    for image in images:
        groups[image.kind].append(image)
    half = limit // 2
    types = sorted(kind for kind in groups if kind is not None)[:half]
    quotas: dict[str | None, int] = {
        kind: half // len(types)
        for kind in types
    }
    quotas[None] = half
    chosen = []
    for kind, quota in quotas.items():
        sign = -1 if kind is None else 1
        group = sorted(
            groups.get(kind, ()),
            key=lambda image: (sign * image.score, image.position))
        easy = quota // 4
        if len(group) > quota:
            group = group[:quota - easy] + group[len(group) - easy:]
        chosen += group
    return sorted(chosen)
