"""How often new normal images are above a calibrated threshold."""
import pytest
import torch

from mmad.models import SPADE, PaDiM, PatchCore
from mmad.models.layers import Decision

SEEDS = 200
RATE = 0.1
BACKBONE = dict(type='TinyBackbone')
MODELS = dict(
    patchcore=lambda: PatchCore(BACKBONE, coreset_ratio=1, num_neighbors=3),
    coreset=lambda: PatchCore(BACKBONE, coreset_ratio=0.1, num_neighbors=3),
    padim=lambda: PaDiM(BACKBONE, reduction='none', dim=None),
    spade=lambda: SPADE(
        BACKBONE,
        image_stage='layer3',
        pyramid_stages=['layer2', 'layer3'],
        num_neighbors=3))


@pytest.fixture(autouse=True)
def without_bars(monkeypatch):
    # Each takes a quarter of a second.
    monkeypatch.setattr('mmad.models.layers.coreset.track',
                        lambda items, *args, **kwargs: items)


def normal_images(number, seed):
    """Images of one size, of which some are odder than others."""
    generator = torch.Generator().manual_seed(seed)
    contrast = 1 + torch.rand(number, 1, 1, 1, generator=generator)
    return contrast * torch.randn(number, 3, 16, 16, generator=generator)


@torch.no_grad()
def observed_rates(model, method, fit):
    rates = []
    for seed in range(SEEDS):
        images = normal_images(19 + 12 + 20, seed)
        calibration, rest, new = images.split([19, 12, 20])
        detector = MODELS[model]()
        if method == 'held_out':
            fit(detector, rest, len(rest))
            scores, maps = detector.score(calibration)
        else:
            fit(detector, calibration, len(calibration))
            with detector.leaving_out(list(range(19))):
                scores, maps = detector.score(calibration)
        decision = Decision()
        decision.calibrate(scores, maps.amax((1, 2, 3)), RATE, method)
        labels, masks = decision(*detector.score(new))
        rates.append(
            torch.stack([
                labels.float().mean(),
                masks.flatten(1).any(1).float().mean(),
            ]))
    rates = torch.stack(rates)
    return rates.mean(0), rates.std(0) / SEEDS**0.5


@pytest.mark.slow
@pytest.mark.parametrize('model', MODELS)
def test_held_out_is_exact(model, fit):
    # ceil(20 * 0.9) = 18: the rate of 0.1 is reached exactly.
    mean, error = observed_rates(model, 'held_out', fit)
    assert ((mean - RATE).abs() < 3 * error).all(), (mean, error)


@pytest.mark.slow
@pytest.mark.parametrize('model', MODELS)
def test_leave_one_out_is_not_above(model, fit):
    mean, error = observed_rates(model, 'leave_one_out', fit)
    assert (mean < RATE + 3 * error).all(), (mean, error)
    # Nor does it call everything normal.
    assert (mean > RATE / 4).all(), (mean, error)
