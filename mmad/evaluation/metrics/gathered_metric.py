from itertools import zip_longest
from typing import Any

from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    get_dist_info,
)
from mmengine.evaluator import BaseMetric

from mmad.errors import InputError

# Number of images per process that are gathered at once.
_ROUND = 16
_NOTHING = object()


class GatheredMetric(BaseMetric):
    """Base class of metrics that gather their results by the process group.

    The results are sent to the first process, a few images at a time. Unlike
    with the metrics of MMEngine, nodes need not share a folder.

    Args:
        collect_device (str): ``'gpu'`` gathers the results by the process
            group, also on CPUs. ``'cpu'`` gathers them in files, if
            ``collect_dir`` is given. Defaults to 'gpu'.
        prefix (str, optional): Prefix of the names of the metrics, which is
            followed by a slash. Defaults to None.
        collect_dir (str, optional): Folder for these files, which all nodes
            share. Defaults to None.

    Attributes:
        per_defect_type (dict[str, dict[str, float]]): The metrics of each
            defect type, in the first process.
        conditions (dict): How the metrics were computed, in the first
            process.
        best_threshold (float): The highest threshold with the highest F1,
            where ``score >= best_threshold`` is anomalous, in the first
            process; NaN if it is not known.
        warnings (list[str]): Warnings about the metrics, one sentence each,
            in the first process.
    """

    default_prefix = ''
    results: list[Any]

    def __init__(self,
                 collect_device: str = 'gpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        if collect_dir is not None:
            collect_device = 'cpu'
        super().__init__(collect_device, prefix, collect_dir)
        self.per_defect_type: dict[str, dict[str, float]] = {}
        self.conditions: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.best_threshold = float('nan')

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the metrics of all images of all processes.

        Args:
            size (int): Number of images of the test set. Further images, which
                the sampler repeats to fill the last round, are dropped.

        Returns:
            dict[str, float]: Metrics of all images, in every process.

        Raises:
            InputError: If the metrics cannot be computed from the images. It
                is raised in every process.
        """
        if self.collect_dir is not None:
            return super().evaluate(size)
        results, self.results = gather_in_order(self.results, size), []
        outcome: list = [None]
        if results is not None:
            try:
                outcome = [self.compute_metrics(results)]
            except InputError as error:
                # Raise it in the other processes too, since they wait.
                outcome = [error]
        broadcast_object_list(outcome)
        if isinstance(outcome[0], InputError):
            raise outcome[0]
        return self._with_prefix(outcome[0])

    def _with_prefix(self, values: dict[str, float]) -> dict[str, float]:
        if not self.prefix:
            return values
        return {f'{self.prefix}/{name}': values[name] for name in values}


def gather_in_order(part: list, size: int) -> list | None:
    """Gather the results of all processes in the order of the data set.

    Args:
        part (list): Results of this process; the sampler gives the images to
            the processes in turn.
        size (int): Number of images of the data set.

    Returns:
        list | None: The results, in the first process; None in others.
    """
    rank, world_size = get_dist_info()
    if world_size == 1:
        return part[:size]
    results: list | None = [] if rank == 0 else None
    # All processes must take part in the same number of rounds.
    longest = max(all_gather_object(len(part)))
    for start in range(0, longest, _ROUND):
        stop = min(start + _ROUND, longest)
        parts = gather_object(part[start:stop])
        if results is not None:
            results += [
                item for turn in zip_longest(*parts, fillvalue=_NOTHING)
                for item in turn if item is not _NOTHING
            ]
    return None if results is None else results[:size]
