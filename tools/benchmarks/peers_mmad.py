"""mmad, as a peer in ``peers.py``."""
from pathlib import Path

import numpy as np
import peers_worker
import torch
from mmengine.registry import init_default_scope
from peers_worker import Clock
from torch import Tensor

import mmad
from mmad.evaluation import PixelMetric
from mmad.models.layers import k_center_greedy
from mmad.registry import MODELS
from mmad.structures import AnomalyDataSample


class Mmad:
    """A detector of mmad; its thresholds are not calibrated."""

    versions = dict(mmad=mmad.__version__)

    def __init__(self, spec: dict) -> None:
        init_default_scope('mmad')
        backbone = dict(
            type='TorchvisionBackbone',
            name='resnet18',
            stages=spec['layers'],
            weights=spec['weights'])
        settings: dict = dict(type='PaDiM', dim=100)
        if spec['method'] == 'patchcore':
            settings = dict(
                type='PatchCore',
                coreset_ratio=spec['ratio'],
                held_dir=spec.get('held_dir'))
        self.model = MODELS.build(dict(settings, backbone=backbone))
        self.model.to(spec['device'])
        self.model.eval()
        self.clock = Clock(spec['device'])

    def backbone(self, images: Tensor) -> object:
        return self.model.backbone(images)

    def embed(self, images: Tensor) -> Tensor:
        return self.model.extract(images)

    def start(self, number: int) -> None:
        for module in self.model.fitted_modules:
            module.prepares_leaving_out = False
        k_center_greedy(torch.rand(300, 128), 40)  # compile
        self.model.begin_fit(number, peers_worker.BATCH)

    def collect(self, images: Tensor, first: int, step: int = 1) -> None:
        samples = [
            AnomalyDataSample(metainfo=dict(sample_idx=first + step * i))
            for i in range(len(images))
        ]
        self.model.train_step(dict(inputs=images, data_samples=samples))

    def finish(self, picks: int | None) -> float:
        self.model.end_pass()
        return self.clock()

    def save(self, file: Path) -> None:
        torch.save(self.model.state_dict(), file)

    def load(self, file: Path, bank: Path | None) -> None:
        self.model.load_state_dict(torch.load(file, weights_only=True))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(images)


def metrics(maps: np.ndarray, masks: np.ndarray, types: list[str]) -> dict:
    samples = [
        dict(
            img_path=str(number),
            mask_path=None if kind == 'good' else str(number),
            defect_type=kind,
            gt_label=torch.tensor(int(kind != 'good')),
            gt_mask=torch.from_numpy(mask),
            pred_map=torch.from_numpy(scores))
        for number, (scores, mask,
                     kind) in enumerate(zip(maps, masks, types, strict=True))
    ]

    def evaluate(score_bits: int | None) -> dict:
        metric = PixelMetric(score_bits=score_bits)
        metric.process(None, samples)
        found = metric.evaluate(len(samples))
        return dict(
            AUROC=found['pixel_auroc'],
            AP=found['pixel_ap'],
            F1=found['pixel_f1max'],
            AUPRO=found['aupro'])

    return {
        'mmad, exact': lambda: evaluate(None),
        'mmad, 20 bits': lambda: evaluate(20),
    }


if __name__ == '__main__':
    peers_worker.main(Mmad, metrics)
