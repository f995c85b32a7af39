"""Members are calibrated before the ensemble that combines them."""
import json

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from scipy.stats import zscore
from tiny_models import NORMALIZATION

from mmad.apis import AnomalyInferencer
from mmad.engine.hooks import CalibrationHook
from mmad.errors import InputError
from mmad.models import FitDetector
from mmad.utils import load_checkpoint

HOOK = 'default_hooks.calibration.'
MEMBERS = [
    dict(
        type='PatchCore',
        backbone=dict(type='TinyBackbone', seed=1),
        coreset_ratio=0.2,
        num_neighbors=1), *[
            dict(
                type='PaDiM',
                backbone=dict(type='TinyBackbone', seed=seed),
                dim=4,
                epsilon=0.1) for seed in (2, 3)
        ]
]


@pytest.fixture
def make_ensemble(make_runner):
    """A runner of three members on a scale each."""

    def make(members=MEMBERS, **changes):
        return make_runner(
            'config',
            model=dict(
                _delete_=True,
                type='Ensemble',
                data_preprocessor=NORMALIZATION,
                members=members),
            **{
                HOOK + 'false_alarm_rate': 0.3,
                **changes
            })

    return make


def samples_of(runner, numbers):
    """Preprocessed training images, by their numbers, one by one."""
    dataset = Runner.build_dataloader(runner.cfg.train_dataloader).dataset
    model = runner.model
    for number in numbers:
        packed = dataset[number]
        yield model.data_preprocessor(
            dict(
                inputs=[packed['inputs']],
                data_samples=[packed['data_samples']]))


@pytest.mark.parametrize('method', ['auto', 'held_out'])
@torch.no_grad()
def test_scales_are_those_of_normal_images(make_ensemble, method, tmp_path,
                                           monkeypatch):
    # So that it can be scored again below.
    monkeypatch.setattr(FitDetector, 'end_calibration', lambda self: None)
    runner = make_ensemble(**{HOOK + 'method': method, HOOK + 'share': 0.5})
    runner.train()
    model, held_out = runner.model.eval(), method == 'held_out'
    images = json.loads((tmp_path / 'calibration.json').read_text())['images']
    numbers = sorted(int(entry['path'][-7:-4]) for entry in images)
    assert len(numbers) == (4 if held_out else 7)
    scores, maps = [], []
    for number, data in zip(numbers, samples_of(runner, numbers)):
        if held_out:
            found = [one.score(data['inputs']) for one in model.members]
        else:
            with model.leaving_out([number]):
                found = [one.score(data['inputs']) for one in model.members]
        scores.append([float(score) for score, _ in found])
        maps.append([one.double().numpy() for _, one in found])
    # Images, members, pixels.
    scores, maps = np.array(scores), np.array(maps)[:, :, 0, 0]
    expected = zscore(scores, axis=0, ddof=1).mean(1)
    combined = zscore(maps, axis=(0, 2, 3)).mean(1)
    decision = model.decision
    np.testing.assert_allclose(
        decision.scores, np.sort(expected), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        decision.peaks, np.sort(combined.max((1, 2))), rtol=1e-3, atol=1e-3)


def test_a_checkpoint_predicts_the_same_by_itself(make_ensemble, tmp_path,
                                                  mvtec_root):
    runner = make_ensemble()
    runner.train()
    inferencer = AnomalyInferencer(
        tmp_path / 'epoch_1.pth', device='cpu', modules=['tiny_models'])
    folder = mvtec_root / 'bottle/test/hole'
    found = inferencer(folder)
    alone = inferencer(folder / '001.png')
    assert found[1].pred_score == pytest.approx(alone[0].pred_score)
    assert found[1].p_value == alone[0].p_value
    assert found[1].pred_label == (
        found[1].pred_score > float(runner.model.decision.thresholds[0]))


def test_resumed_in_the_middle_of_a_calibration(make_ensemble, tmp_path):
    whole = make_ensemble(folder=tmp_path / 'whole')
    whole.train()
    runner = make_ensemble(folder=tmp_path / 'killed')
    hook, = (h for h in runner.hooks if isinstance(h, CalibrationHook))
    score = hook._score

    def kill(runner, images, scored):
        if len(scored) == 1:
            raise RuntimeError('killed')
        return score(runner, images, scored)

    hook._score = kill
    with pytest.raises(RuntimeError, match='killed'):
        runner.train()
    checkpoint = str(tmp_path / 'killed/epoch_1.pth')
    assert not load_checkpoint(checkpoint)['state_dict']['z_scores.stds'].any()
    resumed = make_ensemble(
        folder=tmp_path / 'killed', resume=True, load_from=checkpoint)
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)


@pytest.mark.parametrize(('changes', 'message'), [
    ({
        HOOK + 'method': 'off'
    }, 'which the CalibrationHook finds, but it is missing, off'),
    ({
        'train_dataloader.dataset.indices': 2
    }, r'too few training images \(2\)'),
])
def test_refused_before_the_fit_without_calibration(make_ensemble, tmp_path,
                                                    changes, message):
    runner = make_ensemble(**changes)
    with pytest.raises(InputError, match=message):
        runner.train()
    assert not any(one.is_fitted for one in runner.model.members)
    assert not list(tmp_path.glob('*.pth'))


def test_refused_before_the_fit_without_the_hook(make_ensemble):
    runner = make_ensemble()
    runner._hooks = [
        hook for hook in runner.hooks if not isinstance(hook, CalibrationHook)
    ]
    with pytest.raises(InputError, match='CalibrationHook finds, but it is'):
        runner.train()


def test_copies_of_an_image_have_no_scale(make_ensemble, own_root):
    folder = own_root / 'bottle/train/good'
    first, *others = sorted(folder.iterdir())
    for path in others:
        path.write_bytes(first.read_bytes())
    runner = make_ensemble(
        **{'train_dataloader.dataset.data_root': str(own_root)})
    with pytest.raises(InputError, match='member 0 gives all 7 normal images'):
        runner.train()
