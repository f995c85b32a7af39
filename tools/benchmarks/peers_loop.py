"""The plain loop, as a peer in ``peers.py``: the papers in plain PyTorch.

It is what a straightforward script does, without mmad: a greedy selection
with cached norms, one pick at a time; distances to all rows of the bank; one
covariance after the other, inverted.
"""
from pathlib import Path

import numpy as np
import peers_worker
import sklearn
import torch
import torch.nn.functional as F
import torchvision
from peers_worker import Clock
from scipy.ndimage import label
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
)
from torch import Tensor
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.functional import gaussian_blur

NEIGHBORS = 9
EPSILON = 0.01


class Loop:
    """PatchCore or PaDiM, as their papers describe them."""

    versions = dict(torchvision=torchvision.__version__)

    def __init__(self, spec: dict) -> None:
        self.spec = spec
        network = torchvision.models.resnet18(weights=None)
        self.network = create_feature_extractor(network, spec['layers'])
        state = torch.load(spec['weights'], weights_only=True)
        missing = self.network.load_state_dict(
            state, strict=False).missing_keys
        if missing:
            raise KeyError(f'{spec["weights"]} lacks {missing}.')
        self.network.to(spec['device']).eval()
        self.is_patchcore = spec['method'] == 'patchcore'
        self.clock = Clock(spec['device'])
        self.state: dict[str, Tensor] = {}

    def backbone(self, images: Tensor) -> object:
        return self.network(images)

    def embed(self, images: Tensor) -> Tensor:
        maps = list(self.network(images).values())
        grid, mode = maps[0].shape[-2:], 'nearest'
        if self.is_patchcore:
            maps = [F.avg_pool2d(level, 3, 1, 1) for level in maps]
            mode = 'bilinear'
        joined = torch.cat([F.interpolate(m, grid, mode=mode) for m in maps],
                           1)
        return joined if self.is_patchcore else joined[:,
                                                       self.spec['channels']]

    def start(self, number: int) -> None:
        self.collected: list[Tensor] = []

    def collect(self, images: Tensor, first: int) -> None:
        self.collected.append(self.embed(images))

    def finish(self, picks: int | None) -> float:
        features = torch.cat(self.collected)
        if not self.is_patchcore:
            self._estimate(features)
            return self.clock()
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)
        generator = torch.Generator(rows.device).manual_seed(0)
        projected = rows @ torch.randn(
            rows.shape[1], 128, generator=generator, device=rows.device)
        begin = self.clock()
        norms = projected.square().sum(1)
        nearest = torch.full_like(norms, torch.inf)
        index, chosen = 0, []
        for _ in range(picks or int(self.spec['ratio'] * len(rows))):
            chosen.append(index)
            distance = torch.mv(projected, projected[index]).mul_(-2)
            distance.add_(norms).add_(norms[index])
            torch.minimum(nearest, distance, out=nearest)
            index = int(nearest.argmax())
        self.state = dict(bank=rows[chosen])
        return begin

    def _estimate(self, features: Tensor) -> None:
        samples = features.flatten(2).permute(2, 0, 1)
        unit = EPSILON * torch.eye(samples.shape[2], device=samples.device)
        self.state = dict(
            mean=samples.mean(1),
            inverse=torch.stack([
                torch.linalg.inv(torch.cov(sample.T) + unit)
                for sample in samples
            ]))

    def save(self, file: Path) -> None:
        torch.save(dict(self.state, network=self.network.state_dict()), file)

    def load(self, file: Path, bank: Path | None) -> None:
        self.state = torch.load(file, weights_only=True)
        self.network.load_state_dict(self.state.pop('network'))
        if bank is not None:
            rows = torch.from_numpy(np.load(bank))
            self.state = dict(bank=rows.to(self.spec['device']))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.embed(images)
        samples = features.flatten(2)
        if self.is_patchcore:
            queries = samples.transpose(1, 2)
            found = [self._search(rows) for rows in queries]
            distances = torch.stack([distance for _, distance in found])
        else:
            offset = samples.permute(2, 0, 1) - self.state['mean'][:, None]
            square = (offset @ self.state['inverse'] * offset).sum(2)
            distances = square.clamp(min=0).sqrt().T
        grid = distances.unflatten(1, features.shape[-2:])[:, None]
        maps = gaussian_blur(
            F.interpolate(grid, images.shape[-2:], mode='bilinear'), 33, 4.0)
        if self.is_patchcore:
            return torch.stack([score for score, _ in found]), maps
        return maps.amax((1, 2, 3)), maps

    def _search(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Score an image (eq. 6 and 7), and its patches."""
        bank = self.state['bank']
        distances, nearest = torch.cdist(queries, bank).min(1)
        worst = distances.argmax()
        row = bank[nearest[worst]][None]
        around = torch.cdist(row, bank)[0].topk(NEIGHBORS, largest=False)[1]
        spread = torch.cdist(queries[worst][None], bank[around])[0]
        weight = 1 - torch.exp(distances[worst] - spread.logsumexp(0))
        return weight * distances[worst], distances


def metrics(maps: np.ndarray, masks: np.ndarray, types: list[str]) -> dict:

    def evaluate() -> dict:
        truth, scores = masks.ravel(), maps.ravel()
        precision, recall, _ = precision_recall_curve(truth, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-10)
        return dict(
            AUROC=roc_auc_score(truth, scores),
            AP=average_precision_score(truth, scores),
            F1=float(f1.max()),
            AUPRO=_aupro(maps, masks))

    return {f'scikit-learn {sklearn.__version__}': evaluate}


def _aupro(maps: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """Sort all pixels, and add up the regions that they cover."""
    weights, number = np.zeros(maps.shape), 0
    for mask, weight in zip(masks, weights, strict=True):
        regions, found = label(mask, np.ones((3, 3)))
        for region in range(1, found + 1):
            weight[regions == region] = 1 / (regions == region).sum()
        number += found
    order = np.argsort(-maps, axis=None)
    scores = maps.ravel()[order]
    last = np.append(scores[1:] != scores[:-1], True)
    normal = ~masks.ravel()[order]
    fpr = np.append(0, np.cumsum(normal)[last] / normal.sum())
    pro = np.append(0, np.cumsum(weights.ravel()[order])[last] / number)
    end = np.interp(limit, fpr, pro)
    inside = fpr <= limit
    fpr, pro = np.append(fpr[inside], limit), np.append(pro[inside], end)
    return float((np.diff(fpr) * (pro[1:] + pro[:-1])).sum() / 2 / limit)


if __name__ == '__main__':
    peers_worker.main(Loop, metrics)
