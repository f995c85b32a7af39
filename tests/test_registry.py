import mmengine.registry
import pytest
from mmengine.registry import Registry

import mmad.registry

CHILDREN = {
    name: value
    for name, value in vars(mmad.registry).items()
    if isinstance(value, Registry) and not name.startswith('MMENGINE_')
}


def test_every_registry_has_a_child():
    parents = {
        name
        for name, value in vars(mmengine.registry).items()
        if isinstance(value, Registry)
    }
    assert parents == set(CHILDREN)


@pytest.mark.parametrize('name', CHILDREN)
def test_child(name):
    child = CHILDREN[name]
    assert child.parent is getattr(mmengine.registry, name)
    assert child.scope == 'mmad'


@pytest.mark.parametrize(('registry', 'names'), [
    ('DATASETS', ['AnomalyDataset', 'FolderDataset', 'MVTecAD']),
    ('TRANSFORMS', ['CenterCrop', 'LoadImage', 'LoadMask', 'PackInputs']),
    ('MODELS', ['DemoBackbone', 'PatchCore', 'TorchvisionBackbone']),
    ('HOOKS', ['CheckpointHook', 'FitHook', 'ReportHook', 'VisualizationHook'
               ]),
    ('METRICS', ['ImageMetric', 'PixelMetric']),
    ('VISUALIZERS', ['AnomalyVisualizer']),
])
def test_found_by_name(registry, names):
    for name in names:
        found = CHILDREN[registry].get(name)
        assert found.__name__ == name
        assert found.__module__.startswith('mmad.')


def test_behind_them_what_mmengine_has():
    assert CHILDREN['HOOKS'].get('LoggerHook') is (
        mmengine.registry.HOOKS.get('LoggerHook'))
    assert CHILDREN['TRANSFORMS'].get('Resize') is not None
