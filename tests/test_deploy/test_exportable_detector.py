"""Graphs of every method give what the detector gives."""
from pathlib import Path

import pytest
import torch
from exported_models import METHODS, SIZE, calibrated, with_config

from mmad.deploy.export_model import make_program
from mmad.deploy.exportable_detector import ExportableDetector
from mmad.deploy.formats import FORMATS
from mmad.deploy.image_input import ImageInput
from mmad.deploy.parity import Parity, random_images
from mmad.errors import InputError
from mmad.models.layers import nearest_neighbors
from mmad.models.layers.anomaly_map import upsample_and_smooth

# Their graphs take more than three seconds to make.
LARGE = 'fyd_poses', 'fyd_all', 'students', 'spade_per_level'
LARGE_ONNX = (*LARGE, 'patchcore', 'patchcore_official', 'patchcore_neighbors',
              'spade', 'ensemble')


def cases(slow):
    return [
        pytest.param(name, marks=[pytest.mark.slow] * (name in slow))
        for name in METHODS
    ]


def make_graph(detector, name, folder, batch_size=None, color_order='rgb'):
    """Export to a format: the parts that `Parity` takes."""
    # What a trace would leave in it must do no harm, nor may it be needed.
    upsample_and_smooth.__wrapped__.cache_clear()
    image_input = ImageInput.of(with_config(detector), 'a.pth')
    model = ExportableDetector(detector, image_input, color_order).eval()
    outputs, program = make_program(model, batch_size)
    names = [output['name'] for output in outputs]
    path = Path(folder) / f'model{FORMATS[name].suffix}'
    FORMATS[name].write(program, path, names)
    return outputs, FORMATS[name].load(path, names), image_input


def check(detector, name, folder, batch_size=None, color_order='rgb'):
    outputs, graph, image_input = make_graph(detector, name, folder,
                                             batch_size, color_order)
    parity = Parity(detector, graph, color_order, batch_size)
    parity.check(random_images(image_input))
    assert parity.images == 4
    return outputs, parity


def require(name):
    try:
        FORMATS[name].require_packages()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize('method', cases(LARGE))
def test_torch_export(method, tmp_path):
    outputs, parity = check(
        calibrated(METHODS[method]()), 'torch-export', tmp_path)
    assert parity.labels == 4
    shapes = {output['name']: output['shape'] for output in outputs}
    assert shapes['score'] == shapes['label'] == shapes['p_value'] == ['batch']
    maps = {'anomaly_map', 'mask'} & set(shapes)
    assert bool(maps) == (method != 'mkd')
    assert all(shapes[name] == ['batch', *SIZE] for name in maps)


@pytest.mark.parametrize('method', cases(LARGE_ONNX))
def test_onnx(method, tmp_path):
    require('onnx')
    assert check(calibrated(METHODS[method]()), 'onnx', tmp_path)[1].labels


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_openvino(method, tmp_path):
    require('openvino')
    check(calibrated(METHODS[method]()), 'openvino', tmp_path)


def test_without_thresholds_there_are_no_labels(tmp_path):
    outputs, parity = check(METHODS['padim'](), 'torch-export', tmp_path)
    assert [output['name'] for output in outputs] == ['score', 'anomaly_map']
    assert not parity.labels


@pytest.mark.parametrize('color_order', ['rgb', 'bgr'])
def test_fixed_batch(color_order, tmp_path):
    outputs, _ = check(
        calibrated(METHODS['padim']()), 'torch-export', tmp_path, 3,
        color_order)
    assert outputs[0]['shape'] == [3]


def test_rows_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(nearest_neighbors, '_EXPORTED_WIDTH', 50)
    detector = calibrated(METHODS['patchcore']())
    assert len(detector.memory_bank) > 150
    check(detector, 'torch-export', tmp_path)


def test_bank_of_another_backend(tmp_path):
    pytest.importorskip('faiss')
    from exported_models import make_patchcore
    detector = calibrated(make_patchcore(memory_bank=dict(backend='faiss')))
    images = torch.randn(2, 3, *SIZE)
    before = detector(images)
    detector.memory_bank.search_by_torch()
    for ours, theirs in zip(detector(images), before):
        torch.testing.assert_close(ours, theirs)
    check(detector, 'torch-export', tmp_path)


def test_untrained_is_refused():
    detector = METHODS['mkd']()
    detector.fit_state.reset()
    image_input = ImageInput.of(with_config(detector), 'a.pth')
    with pytest.raises(InputError, match='not'):
        ExportableDetector(detector, image_input, 'rgb')
