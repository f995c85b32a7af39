"""The settings of PatchCore that are published, and what they need."""
import re
import shlex
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from budgets import budget_for
from mmengine.config import Config, DictAction
from tiny_models import fit_shard, share_backbones

from mmad.errors import InputError
from mmad.models.layers import coreset_bank, selection_space
from mmad.registry import MODELS
from mmad.utils.weights import remove_weights

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / 'configs' / 'patchcore'
PAGE = ROOT / 'docs' / 'patchcore.md'


def read_settings():
    """Pairs of a config file and its options, each once."""
    section = PAGE.read_text().split('\n## Published settings\n')[1]
    found = []
    for line in section.split('\n## ')[0].splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| ') and len(cells) == 4:
            for path in re.findall(r'\((\S+\.py)\)', cells[2]):
                found.append(
                    ((PAGE.parent / path).resolve(), cells[3].strip('`')))
    return found


SETTINGS = read_settings()


def build(path, options):
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction)
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(
        parser.parse_args(['--cfg-options', *shlex.split(options)]).cfg_options
        or {})
    remove_weights(cfg.model)
    with torch.device('meta'):
        MODELS.build(share_backbones(cfg.model))
    # Random weights of the larger networks take seconds to draw.
    cfg.model.backbone.name = 'resnet18'
    return MODELS.build(share_backbones(cfg.model))


def test_the_page_lists_every_config_of_the_paper_and_the_code():
    listed = [path for path, options in SETTINGS if not options]
    assert len(listed) == len(set(listed))
    assert set(listed) == {
        path
        for path in FOLDER.glob('patchcore_*_mvtec*.py')
        if re.search(r'_(resnet18|wrn50)_.*pct_mvtec|segmentation', path.name)
    } - set(FOLDER.glob('*loco*'))
    assert sum(bool(options) for _, options in SETTINGS) >= 8


@pytest.mark.parametrize(('path', 'options'),
                         SETTINGS,
                         ids=lambda part: part
                         if isinstance(part, str) else part.stem)
def test_fits_and_predicts(path, options):
    torch.manual_seed(0)
    detector = build(path, options)
    images = torch.randn(32, 3, 64, 64)
    fit_shard(detector, images, 8)
    bank = detector.memory_bank
    assert len(bank) == int(bank.coreset_ratio * bank.num_held)
    with torch.no_grad(), detector.leaving_out([3, 0]):
        scores, maps = detector(images[[3, 0]])
    samples = detector.predict(images[:2])
    assert torch.isfinite(maps).all()
    assert (scores > 0).all()
    assert all(sample.pred_map.shape == (64, 64) for sample in samples)


def test_ratio_one_selects_nothing(images, make_patchcore, fit, monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError

    for name in ('k_center_greedy', 'fill_coreset'):
        monkeypatch.setattr(coreset_bank, name, refuse)
    monkeypatch.setattr(selection_space, 'random_projection', refuse)
    for selection in ('greedy', 'random'):
        detector = fit(
            make_patchcore(coreset_ratio=1, selection=selection), images)
        assert len(detector.memory_bank) == 7 * 80


@pytest.mark.parametrize('k', [2, 3, 5])
def test_several_neighbors_of_a_patch(images, make_patchcore, fit, k):
    detector = fit(
        make_patchcore(num_neighbors=1, num_patch_neighbors=k, sigma=0),
        images)
    # What the authors' code takes, and its root.
    queries = 2 * images[:5]
    features = detector.extract(queries).flatten(2).mT.flatten(0, 1)
    nearest = torch.cdist(features.double(),
                          detector.memory_bank.rows.double()).topk(
                              k, largest=False).values
    expected = nearest.square().mean(1).view(5, 1, 8, 10).sqrt()
    scores, maps = detector(queries)
    torch.testing.assert_close(
        scores, expected.flatten(1).amax(1).float(), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        maps,
        F.interpolate(expected, (32, 40), mode='bilinear').float(),
        rtol=1e-5,
        atol=1e-6)


def test_several_neighbors_are_not_reweighted(make_patchcore):
    with pytest.raises(
            InputError, match='`num_patch_neighbors` 2 needs `num_neighb'):
        make_patchcore(num_patch_neighbors=2)


def test_approximate_search_of_all_patches(images, make_patchcore, fit):
    pytest.importorskip('faiss')
    exact, approximate = (
        fit(make_patchcore(coreset_ratio=1, memory_bank=memory_bank), images)
        for memory_bank in (None, dict(backend='faiss', index='IVF2,PQ8x4')))
    queries = exact.extract(2 * images[:2]).flatten(2).mT.flatten(0, 1)
    found = approximate.memory_bank(queries)[0]
    nearest = exact.memory_bank(queries)[0]
    # Distances are those to the rows, not to their codes.
    assert (found >= nearest * (1 - 1e-6)).all()
    assert float(found.mean() / nearest.mean()) < 1.2


def test_too_few_rows_for_the_neighbors(images, make_patchcore, fit):
    detector = make_patchcore(
        coreset_ratio=0.015, num_neighbors=1, num_patch_neighbors=9)
    with pytest.raises(InputError, match='selects 8, fewer than the 9'):
        fit(detector, images)


@pytest.mark.parametrize('first_patch', [0, 81, 559])
@pytest.mark.parametrize('kept', [8, 50])
def test_selection_from_what_the_budget_leaves(images, make_patchcore, fit,
                                               first_patch, kept):
    detector = fit(
        make_patchcore(
            coreset_ratio=0.5,
            memory_budget=budget_for(kept, 16),
            num_neighbors=1,
            first_patch=first_patch), images)
    assert len(detector.memory_bank) == kept // 2
