import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmad.apis import AnomalyInferencer
from mmad.deploy import export_model, formats
from mmad.deploy.formats import FORMATS
from mmad.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
MODULES = dict(modules=['tiny_models'])


@pytest.fixture
def checkpoint(fitted):
    return f'{fitted.work_dir}/epoch_1.pth'


@pytest.fixture
def folder(mvtec_root):
    return mvtec_root / 'bottle/test/hole'


def test_description(checkpoint, folder, tmp_path):
    out = tmp_path / 'a model.pt2'
    about = export_model(
        checkpoint, 'torch-export', out, check=folder, **MODULES)
    assert {file.name
            for file in tmp_path.iterdir()} == {out.name, f'{out.name}.json'}
    assert json.loads((tmp_path / 'a model.pt2.json').read_text()) == about
    assert about['digest'] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert about['method'] == 'PatchCore'
    assert about['parity']['images'] == 4 + len(list(folder.iterdir()))
    assert about['input']['shape'][0] == 'batch'
    assert torch.__version__.startswith(about['versions']['torch'])


@pytest.mark.slow
def test_runner_gives_the_scores_of_the_inferencer(checkpoint, folder,
                                                   tmp_path):
    try:
        FORMATS['onnx'].require_packages()
    except InputError as error:
        pytest.skip(str(error))
    out = tmp_path / 'model.onnx'
    about = export_model(checkpoint, out=out, **MODULES)
    paths = sorted(map(str, folder.iterdir()))
    code = (f'import sys; sys.path.insert(0, {str(ROOT / "tools/deploy")!r})\n'
            'import numpy as np, run_onnx\n'
            f'detector = run_onnx.Detector({str(out)!r})\n'
            f'images = np.stack([detector.read(p) for p in {paths!r}])\n'
            'found = detector(images)\n'
            f'np.savez({str(tmp_path / "found.npz")!r}, **found)\n'
            'assert not {"torch", "mmad"} & set(sys.modules)\n')
    subprocess.run([sys.executable, '-c', code], check=True)
    found = np.load(tmp_path / 'found.npz')
    assert set(found) == {output['name'] for output in about['outputs']}
    samples = AnomalyInferencer(checkpoint, device='cpu', **MODULES)(folder)
    assert len(samples) == len(found['score'])
    for i, sample in enumerate(samples):
        np.testing.assert_allclose(
            found['score'][i], float(sample.pred_score), rtol=1e-4)
        expected = sample.pred_map.numpy()
        np.testing.assert_allclose(
            found['anomaly_map'][i], expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize('name', ['score', 'anomaly_map'])
def test_a_wrong_graph_is_not_written(checkpoint, tmp_path, monkeypatch, name):
    right = FORMATS['torch-export']

    def load(path, outputs):
        graph = right.load(path, outputs)

        def off(images):
            found = graph(images)
            found[name] = found[name] * np.float32(1.001)
            return found

        return off

    monkeypatch.setitem(FORMATS, 'torch-export', right._replace(load=load))
    out = tmp_path / 'model.pt2'
    out.write_text('before')
    with pytest.raises(InputError, match=f'`{name}` is off by 1.0e-03'):
        export_model(checkpoint, 'torch-export', out, **MODULES)
    assert [file.name for file in tmp_path.iterdir()] == ['model.pt2']
    assert out.read_text() == 'before'


def test_what_an_exporter_does_not_know(checkpoint, tmp_path, monkeypatch):

    def write(program, path, outputs):
        raise RuntimeError('no such operator')

    monkeypatch.setitem(FORMATS, 'torch-export',
                        FORMATS['torch-export']._replace(write=write))
    with pytest.raises(InputError, match='no such operator'):
        export_model(checkpoint, 'torch-export', tmp_path / 'model.pt2',
                     **MODULES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('kwargs', 'message'),
                         [(dict(format='tflite'), '`format`'),
                          (dict(color_order='gray'), '`color_order`'),
                          (dict(batch_size=0), '`batch_size`'),
                          (dict(out='model.onnx'), 'must end in ".pt2"')])
def test_bad_arguments(checkpoint, kwargs, message):
    with pytest.raises(InputError, match=message):
        export_model(checkpoint, **dict(dict(format='torch-export'), **kwargs))


@pytest.mark.parametrize('name', ['onnx', 'openvino'])
def test_missing_packages(checkpoint, monkeypatch, name):
    monkeypatch.setattr(formats, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='pip install \'mmad'):
        export_model(checkpoint, name)
