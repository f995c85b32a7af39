"""anomalib, as a peer in ``peers.py``; runs in an environment with it."""
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peers_worker
import torch
from anomalib.metrics import AUPR, AUPRO, AUROC, F1Max
from anomalib.models.components import dimensionality_reduction
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from peers_worker import Clock
from torch import Tensor

NAMES = {AUROC: 'AUROC', AUPRO: 'AUPRO', F1Max: 'F1', AUPR: 'AP'}


class Anomalib:
    """A model of anomalib, without its trainer."""

    versions = {name: version(name) for name in ('anomalib', 'timm')}

    def __init__(self, spec: dict) -> None:
        self.spec = spec
        settings = dict(
            backbone='resnet18', layers=spec['layers'], pre_trained=False)
        if spec['method'] == 'patchcore':
            self.model = PatchcoreModel(**settings, num_neighbors=9)
        else:
            self.model = PadimModel(**settings, n_features=100)
            # The same random channels as the others.
            self.model.idx = torch.tensor(spec['channels'])
        network = self.model.feature_extractor.feature_extractor
        state = torch.load(spec['weights'], weights_only=True)
        missing = network.load_state_dict(state, strict=False).missing_keys
        if missing:
            raise KeyError(f'{spec["weights"]} lacks {missing}.')
        self.model.to(spec['device']).eval()
        self.clock = Clock(spec['device'])

    def backbone(self, images: Tensor) -> object:
        return self.model.feature_extractor(images)

    def embed(self, images: Tensor) -> Tensor:
        maps = self.model.feature_extractor(images)
        if self.spec['method'] == 'patchcore':
            pool = self.model.feature_pooler
            maps = {name: pool(level) for name, level in maps.items()}
        return self.model.generate_embedding(maps)

    def start(self, number: int) -> None:
        self.model.train()

    def collect(self, images: Tensor, first: int) -> None:
        self.model(images)

    def finish(self, picks: int | None) -> float:
        if self.spec['method'] == 'padim':
            self.model.fit()
            return self.clock()
        number = sum(map(len, self.model.embedding_store))
        # A half more, since it rounds down.
        share = (picks + 0.5) / number if picks else self.spec['ratio']
        projection = dimensionality_reduction.SparseRandomProjection
        project, ends = projection.transform, []

        def transform(*args):
            projected = project(*args)
            ends.append(self.clock())
            return projected

        projection.transform = transform
        self.model.subsample_embedding(share)
        projection.transform = project
        return ends[0]

    def save(self, file: Path) -> None:
        torch.save(self.model.state_dict(), file)

    def load(self, file: Path, bank: Path | None) -> None:
        self.model.load_state_dict(torch.load(file, weights_only=True))
        if bank is not None:
            rows = torch.from_numpy(np.load(bank))
            self.model.memory_bank = rows.to(self.spec['device'])
        self.model.eval()

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(images)
        return found.pred_score.flatten(), found.anomaly_map


def metrics(maps: np.ndarray, masks: np.ndarray, types: list[str]) -> dict:
    batches = [
        SimpleNamespace(anomaly_map=scores, gt_mask=truth)
        for scores, truth in zip(
            torch.from_numpy(maps).split(peers_worker.BATCH),
            torch.from_numpy(masks).int().split(peers_worker.BATCH),
            strict=True)
    ]

    def evaluate(*kinds: type) -> dict:
        values = {}
        for kind in kinds:
            metric = kind(fields=['anomaly_map', 'gt_mask'])
            for batch in batches:
                metric.update(batch)
            values[NAMES[kind]] = float(metric.compute())
        return values

    return {
        'anomalib': lambda: evaluate(AUROC, AUPRO, F1Max),
        'anomalib, AUPR': lambda: evaluate(AUPR),
    }


if __name__ == '__main__':
    peers_worker.main(Anomalib, metrics)
