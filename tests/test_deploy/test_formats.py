import logging

import numpy as np
import pytest
import torch
from torch import nn

from mmad.deploy import formats
from mmad.deploy.formats import FORMATS
from mmad.errors import InputError


class Brightness(nn.Module):
    """Two outputs, of which the first is named last in the alphabet."""

    def forward(self, images):
        values = images.float()
        return dict(score=values.mean((1, 2, 3)), map=values.amax(3))


@pytest.fixture(scope='module')
def program():
    shapes = dict(images={0: torch.export.Dim('batch', min=1)})
    return torch.export.export(
        Brightness(), (torch.zeros(2, 4, 5, 3, dtype=torch.uint8), ),
        dynamic_shapes=shapes)


@pytest.mark.parametrize('name', FORMATS)
def test_what_is_written_can_be_run(name, program, tmp_path):
    kind = FORMATS[name]
    try:
        kind.require_packages()
    except InputError as error:
        pytest.skip(str(error))
    path = tmp_path / f'model{kind.suffix}'
    loud = logging.getLogger('torch.onnx')
    before = loud.level
    kind.write(program, path, ['score', 'map'])
    assert loud.level == before
    graph = kind.load(path, ['score', 'map'])
    for number in (1, 3):
        images = np.random.default_rng(number).integers(
            0, 256, (number, 4, 5, 3), np.uint8)
        found = graph(images)
        assert list(found) == ['score', 'map']
        assert (found['map'] == images.max(3)).all()
        np.testing.assert_allclose(
            found['score'], images.mean((1, 2, 3)), rtol=1e-6)
    # OpenVINO splits a model into two files, and its detour leaves none.
    parts = ('.xml', '.bin') if name == 'openvino' else (kind.suffix, )
    assert {file.suffix for file in tmp_path.iterdir()} == set(parts)


def test_suffixes_tell_formats_apart():
    assert len({kind.suffix for kind in FORMATS.values()}) == len(FORMATS)


@pytest.mark.parametrize('name', ['onnx', 'openvino'])
def test_missing_packages(name, monkeypatch):
    kind = FORMATS[name]
    *there, missing = kind.packages
    monkeypatch.setattr(formats, 'find_spec',
                        lambda package: package in there or None)
    with pytest.raises(InputError) as caught:
        kind.require_packages()
    assert str(caught.value) == (
        f'this format needs {missing}; install what is missing with: '
        f"pip install 'mmad[{kind.extra}]'.")
    monkeypatch.setattr(formats, 'find_spec', lambda package: True)
    kind.require_packages()
