from copy import deepcopy
from pathlib import Path

import pytest
import torch
from fyd_parts import ALL, FAS, FCA, ICA, disturb, parts, train
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmad.models import AlignmentLoss, MeanTransformLoss, PairLoss

CONFIGS = Path(__file__).parents[3] / 'configs'


@parts
def test_trains(make_fyd, images, switches):
    detector = make_fyd(**switches)
    assert detector.needs_training
    before = {
        name: p.detach().clone()
        for name, p in detector.named_parameters()
    }
    log = detector(images, [None] * 7, mode='loss')
    sum(value for name, value in log.items() if 'loss' in name).backward()
    for name, parameter in detector.named_parameters():
        # Several processes expect a gradient for each, or for none.
        if parameter.requires_grad:
            assert parameter.grad is not None, name
    detector.zero_grad()
    logs = train(detector, images, 8)
    assert ('loss_pair' in logs[0]) == ('ica' in switches)
    assert ('loss_alignment' in logs[0]) == ('fas' in switches)
    assert ('fca_angle_std' in logs[0]) == ('fca' in switches)
    if 'fas' in switches:
        assert logs[-1]['loss_alignment'] < logs[0]['loss_alignment']
    for name, parameter in detector.named_parameters():
        changed = not torch.equal(parameter, before[name])
        if name.startswith('backbone'):
            assert changed == parameter.requires_grad, name
            # Only the first convolution is never trained.
            first = name.startswith('backbone.body.layer1')
            assert changed == ('fas' in switches and not first), name
    for part in ('ica', 'fca', 'fas'):
        changed = [
            not torch.equal(p, before[name])
            for name, p in detector.named_parameters()
            if name.startswith(f'{part}.')
        ]
        assert any(changed) == (part in switches)


def test_losses_by_hand(make_fyd, images):
    detector = disturb(
        make_fyd(
            ica=ICA,
            fca=FCA,
            fas=dict(stages=['layer1', 'layer2'], pair='batch_mean'),
            pair_loss=dict(type='PairLoss', pairs='all', loss_weight=3.0),
            alignment_loss=dict(type='AlignmentLoss', loss_weight=2.0),
            mean_transform_loss=dict(
                type='MeanTransformLoss', loss_weight=7.0)))
    log = detector.loss(images, [None] * 7)
    image, first = detector.ica(images)
    one, second = detector.fca['layer1'](detector.backbone.body.layer1(image))
    two, third = detector.fca['layer2'](detector.backbone.body.layer2(one))
    torch.testing.assert_close(log['loss_pair'],
                               PairLoss('all', loss_weight=3.0)(image))
    center = MeanTransformLoss(7.0)
    assert min(center(one) for one in (first, second, third)) > 1e-4
    torch.testing.assert_close(log['loss_mean_transform'],
                               center(first) + center(second) + center(third))
    align = AlignmentLoss(2.0)
    torch.testing.assert_close(
        log['loss_alignment'],
        align(*detector.fas['layer1'](one)) +
        align(*detector.fas['layer2'](two)))


def test_rates_of_the_schedule(make_fyd):
    detector = make_fyd(**ALL)
    wrapper = Config.fromfile(CONFIGS / '_base_/schedules/sgd_50e.py')
    optimizer = build_optim_wrapper(detector, wrapper.optim_wrapper).optimizer
    rates = {
        id(parameter): group['lr']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            continue
        assert rates[id(parameter)] == pytest.approx(
            1e-4 if name.startswith('backbone.') else 1e-2), name


@pytest.mark.parametrize('size', [8, 32])
def test_one_image_alone_adds_no_gradient(make_fyd, images, size):
    detector = disturb(make_fyd(**ALL)).train()
    before = {
        name: value.clone()
        for name, value in detector.state_dict().items()
    }
    log = detector(images[:1, :, :size, :size], [None], mode='loss')
    assert all(value == 0 for value in log.values())
    sum(log.values()).backward()
    for name, value in detector.state_dict().items():
        if name != 'input_size':
            assert torch.equal(value, before[name]), name
    assert all(parameter.grad is not None and not parameter.grad.any()
               for parameter in detector.parameters()
               if parameter.requires_grad)


def test_alignment_loss_does_not_flow_into_what_is_predicted(make_fyd, images):
    # With the predictor cut off, nothing is left for gradients to go through.
    detector = make_fyd(fas=FAS)
    detector.fas['layer2'].predictor.register_forward_hook(
        lambda module, args, output: output.detach().requires_grad_())
    log = detector(images, [None] * 7, mode='loss')
    log['loss_alignment'].backward()
    assert all(p.grad is None for p in detector.parameters())


def test_normalization_of_the_backbone_stays(make_fyd, images):
    backbone = dict(type='DemoBackbone', stages=['layer1', 'layer2'])
    detector = make_fyd(backbone=backbone, **ALL)
    before = {
        name: value.clone()
        for name, value in detector.backbone.named_buffers()
    }
    train(detector, images)
    for name, value in detector.backbone.named_buffers():
        assert torch.equal(value, before[name]), name
    assert not any(m.training for m in detector.backbone.modules())
    assert all(m.training for m in detector.ica.modules())


def step_of_a_share(rank, detector, images, world):
    detector.train()
    log = detector(images[rank::world], mode='loss')
    loss, log = detector.parse_losses(log)
    loss.backward()
    return dict(
        log={
            name: value.detach()
            for name, value in log.items()
        },
        buffers={
            name: value.clone()
            for name, value in detector.named_buffers()
        },
        gradients={
            name: parameter.grad
            for name, parameter in detector.named_parameters()
            if parameter.grad is not None
        })


@pytest.mark.parametrize('world', [2, 3])
@pytest.mark.parametrize('switches', [
    dict(ALL),
    dict(ica=ICA, pair_loss=dict(type='PairLoss', pairs='all')),
    dict(fas=dict(FAS, pair='batch_mean'), fca=FCA)
])
def test_several_processes_train_as_one(run_processes, make_fyd, images,
                                        switches, world):
    images = images[:6].double()
    detector = disturb(make_fyd(**switches)).double()
    alone = step_of_a_share(0, deepcopy(detector), images, 1)
    assert alone['gradients']
    found = run_processes(world, step_of_a_share, detector, images, world)
    for state in found:
        assert state['log'].keys() == alone['log'].keys()
        for part in ('log', 'buffers'):
            for name, value in alone[part].items():
                torch.testing.assert_close(state[part][name], value)
    # As DistributedDataParallel averages them.
    for name, gradient in alone['gradients'].items():
        mean = sum(state['gradients'][name] for state in found) / world
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-7)


def one_image_each(rank, detector, images):
    detector.begin_fit(2, 1)
    return detector.train()(images[rank:rank + 1], mode='loss')


def test_one_image_in_each_process_is_enough(run_processes, make_fyd, images):
    for log in run_processes(2, one_image_each, make_fyd(ica=ICA), images):
        assert 'loss_alone' not in log
        assert log['loss_pair'] > 0
