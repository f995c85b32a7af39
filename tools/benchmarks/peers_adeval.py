"""adeval's metrics, as a peer in ``peers.py``; needs its environment."""
from importlib.metadata import version

import numpy as np
import peers_worker
from adeval import EvalAccumulator


def metrics(maps: np.ndarray, masks: np.ndarray, types: list[str]) -> dict:
    truth = masks.astype(np.uint8)

    def evaluate() -> dict:
        # Maps are given between 0 and 1.
        total = EvalAccumulator(0.0, 1.0)
        total.add_anomap_batch(maps, truth)
        # Its summary needs scores of images and samples as well.
        for add in (total.add_image, total.add_sample):
            add(maps.max((1, 2)), masks.any((1, 2)).astype(int))
        found = total.summary()
        return dict(
            AUROC=found['p_auroc'], AP=found['p_aupr'], AUPRO=found['p_aupro'])

    return {f'adeval {version("adeval")}': evaluate}


if __name__ == '__main__':
    peers_worker.main(None, metrics)
