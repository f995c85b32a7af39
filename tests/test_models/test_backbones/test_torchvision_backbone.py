import re
from urllib.error import URLError

import pytest
import torch
from torchvision.models import densenet121, resnet18

from mmad.errors import InputError
from mmad.models import TorchvisionBackbone
from mmad.registry import MODELS


@pytest.fixture(scope='module')
def reference():
    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    for name, buffer in network.named_buffers():
        if name.endswith('running_mean'):
            buffer.normal_(std=0.1)
        elif name.endswith('running_var'):
            buffer.uniform_(0.5, 1.5)
    return network


@pytest.fixture
def weights(tmp_path, reference):
    torch.save(reference.state_dict(), tmp_path / 'resnet18.pth')
    return str(tmp_path / 'resnet18.pth')


def build(stages=('layer2', 'layer3'), weights=None, name='resnet18'):
    return MODELS.build(
        dict(
            type='TorchvisionBackbone',
            name=name,
            stages=list(stages),
            weights=weights))


def test_stages_equal_the_whole_network(reference, weights):
    backbone = build(weights=weights).train()
    inputs = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        x = reference.maxpool(
            reference.relu(reference.bn1(reference.conv1(inputs))))
        second = reference.layer2(reference.layer1(x))
        third = reference.layer3(second)
    found = backbone(inputs)
    assert [tuple(level.shape) for level in found] == [(2, 128, 8, 12),
                                                       (2, 256, 4, 6)]
    torch.testing.assert_close(found[0], second, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], third, rtol=1e-4, atol=1e-4)
    # Statistics of normalization are those of the file.
    assert torch.equal(backbone(inputs)[1], found[1])


def test_cut_behind_the_last_stage():
    backbone = build()
    names = [name for name, _ in backbone.named_parameters()]
    assert any('layer3' in name for name in names)
    assert not any('layer4' in name or 'fc' in name for name in names)
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(m.training for m in backbone.train().modules())
    assert backbone.name == 'resnet18'
    assert backbone.stages == ('layer2', 'layer3')


def test_other_architectures():
    backbone = build(['features.3', 'features.7'], name='squeezenet1_1')
    first, second = backbone(torch.rand(1, 3, 64, 64))
    assert first.shape[1:] == (128, 15, 15)
    assert second.shape[1:] == (256, 7, 7)


def test_file_without_the_last_stages_will_do(tmp_path, reference):
    state = {
        name: value
        for name, value in reference.state_dict().items()
        if not name.startswith(('layer4', 'fc'))
    }
    torch.save(state, tmp_path / 'cut.pth')
    backbone = build(weights=str(tmp_path / 'cut.pth'))
    weight = backbone.state_dict()['body.layer3.1.conv2.weight']
    assert torch.equal(weight, state['layer3.1.conv2.weight'])
    with pytest.raises(InputError, match=r'layer4\.0\.conv1\.weight'):
        build(['layer4'], str(tmp_path / 'cut.pth'))


def test_densenets_as_they_are_published(tmp_path):
    network = densenet121(weights=None)
    state = {
        re.sub(r'(denselayer\d+\.(?:norm|conv))([12])', r'\1.\2', name): value
        for name, value in network.state_dict().items()
    }
    assert 'features.denseblock1.denselayer1.norm.1.weight' in state
    torch.save(state, tmp_path / 'densenet.pth')
    backbone = build(['features.denseblock1'], str(tmp_path / 'densenet.pth'),
                     'densenet121')
    inputs = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network.eval().features[:5](inputs)
    torch.testing.assert_close(backbone(inputs)[0], expected)


def test_file_of_another_network(tmp_path, weights):
    with pytest.raises(InputError, match='tensors that the requested stages'):
        build(weights=weights, name='resnet50')


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(name='resnet19'), 'has no classification model "resnet19"'),
    (dict(stages=['layer2', 'layer9']), r"no stages \['layer2', 'layer9'\]"),
    (dict(weights='IMAGENET1K_V7'),
     'no weights "IMAGENET1K_V7"; torchvision knows .*IMAGENET1K_V1'),
    (dict(weights='none/such.pth'), r'such\.pth" does not exist'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        build(**kwargs)


def test_arguments_are_required():
    with pytest.raises(TypeError, match='weights'):
        TorchvisionBackbone('resnet18', ['layer2'])


def _no_network(url, target, *args, **kwargs):
    raise URLError('Name or service not known')


def _cut_off(url, target, *args, **kwargs):
    raise RuntimeError('invalid hash value (expected "f37072fd", got "0")')


@pytest.mark.parametrize('download', [_no_network, _cut_off])
def test_failed_download(tmp_path, monkeypatch, download):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr('torch.hub.download_url_to_file', download)
    with pytest.raises(InputError) as error:
        build(weights='IMAGENET1K_V1')
    message = str(error.value)
    assert '"resnet18-f37072fd.pth"' in message
    assert f'"{tmp_path}/hub/checkpoints"' in message
    assert '--weights FILE' in message


def test_broken_file_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cache = tmp_path / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    (cache / 'resnet18-f37072fd.pth').write_bytes(b'half a file')
    with pytest.raises(InputError, match=r'resnet18-f37072fd\.pth'):
        build(weights='IMAGENET1K_V1')


@pytest.mark.parametrize(('name', 'stage'),
                         [('vit_b_32', 'encoder'), ('vit_b_32', 'conv_proj'),
                          ('swin_t', 'features.1'), ('resnet18', 'fc'),
                          ('alexnet', 'classifier.1'), ('resnet18', 'flatten'),
                          ('fcn_resnet50', 'backbone.layer2')])
def test_what_gives_no_maps_is_refused(name, stage, capfd):
    with pytest.raises(InputError, match=f'"{name}"') as error:
        TorchvisionBackbone(name, [stage], None)
    assert '\n' not in str(error.value)
    assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.parametrize(('name', 'stage'),
                         [('alexnet', 'features.5'),
                          ('mobilenet_v3_small', 'features.3'),
                          ('squeezenet1_0', 'features.5'),
                          ('efficientnet_b0', 'features.3'),
                          ('mnasnet0_5', 'layers.8'),
                          ('shufflenet_v2_x0_5', 'stage2')])
def test_families_that_do(name, stage):
    backbone = TorchvisionBackbone(name, [stage], None)
    one, = backbone(torch.zeros(1, 3, 64, 96))
    assert one.ndim == 4
    assert one.shape[3] > one.shape[2]
