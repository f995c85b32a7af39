"""What the documentation shows must work."""
import copy
import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from tiny_models import fit_shard

from mmad.apis import AnomalyInferencer
from mmad.registry import MODELS
from mmad.utils import setup_environment

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), *sorted(
        (ROOT / 'configs').glob('*/README.md'))
]
LINKED_PAGES = [
    *PAGES, *(ROOT / f'{name}.md'
              for name in ('CONTRIBUTING', 'CHANGELOG', 'SECURITY'))
]


def _name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def worked_example(mvtec_root, tmp_path, monkeypatch):
    """The worked example of own_method.md after `tools/train.py`."""
    monkeypatch.syspath_prepend(ROOT / 'docs' / 'examples')
    cfg = Config.fromfile(ROOT / 'docs/examples/diagonal_gaussian_demo.py')
    cfg.merge_from_dict({
        'model.backbone.weights': None,
        'model.sigma': 1.0,
        'work_dir': str(tmp_path),
        'log_level': 'WARNING'
    })
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='PackInputs')
    ]
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        loader.update(batch_size=5, num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=str(mvtec_root), category='bottle', pipeline=pipeline)
    setup_environment()
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model, tmp_path / 'epoch_1.pth'


def test_worked_example_fits_the_training_images(worked_example, mvtec_root):
    model, _ = worked_example
    images = [
        torch.from_numpy(np.array(Image.open(path))[..., ::-1].copy())
        for path in sorted((mvtec_root / 'bottle/train/good').iterdir())
    ]
    data = dict(inputs=[image.permute(2, 0, 1) for image in images])
    with torch.no_grad():
        features = model.extract(model.data_preprocessor(data)['inputs'])

    # Seven images in batches of five and two.
    torch.testing.assert_close(model.gaussians.mean, features.mean(0))
    torch.testing.assert_close(model.gaussians.std,
                               (features.var(0, correction=0) + 0.01).sqrt())


def test_worked_example_finds_defects_from_its_checkpoint(
        worked_example, mvtec_root):
    model, checkpoint = worked_example

    inferencer = AnomalyInferencer(
        checkpoint, device='cpu', modules=['diagonal_gaussian'])

    for name, value in model.state_dict().items():
        assert torch.equal(inferencer.model.state_dict()[name], value)
    good = inferencer(mvtec_root / 'bottle/test/good')
    bad = inferencer(mvtec_root / 'bottle/test/hole')
    bad += inferencer(mvtec_root / 'bottle/test/scratch')
    assert max(s.pred_score for s in good) < min(s.pred_score for s in bad)
    for sample in bad:
        path = Path(sample.img_path)
        mask = np.array(
            Image.open(mvtec_root / 'bottle/ground_truth' / path.parent.name /
                       f'{path.stem}_mask.png'))
        row, column = divmod(int(sample.pred_map.argmax()), mask.shape[1])
        # The hottest pixel lies on the defect, give or take a grid cell.
        around = np.s_[max(0, row - 8):row + 9, max(0, column - 8):column + 9]
        assert mask[around].any()


@pytest.fixture
def readme(tmp_path, monkeypatch):
    """The files that README.md shows, in a folder that Python looks in."""
    names = []
    for code in _python_snippets(ROOT / 'README.md'):
        name = code.splitlines()[0].removeprefix('# ')
        if name.startswith('nearest_mean'):
            names.append(name)
            code = code.replace("'configs/", f"'{ROOT.as_posix()}/configs/")
            (tmp_path / name).write_text(code)
    assert names == ['nearest_mean.py', 'nearest_mean_demo.py']
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'nearest_mean', raising=False)
    yield tmp_path
    MODELS.module_dict.pop('NearestMean', None)


@pytest.fixture
def nearest_mean(readme):
    importlib.import_module('nearest_mean')
    return MODELS.build(
        dict(
            type='NearestMean',
            backbone=dict(type='TinyBackbone', stages=['layer3'])))


def test_readme_example_is_short(readme):
    code = (readme / 'nearest_mean.py').read_text().splitlines()[1:]
    assert len([line for line in code if line.strip()]) <= 25


def test_readme_example_scores_by_distance_from_the_mean(
        nearest_mean, fit, images):
    detector = fit(nearest_mean, images)
    features = detector.extract(images).double()
    mean = features.mean((0, 2, 3))
    torch.testing.assert_close(detector.learned.mean, mean.float())
    odd = images.clone()
    odd[0, :, :16, :20] *= 20
    scores, maps = detector(odd)
    assert maps.shape == (7, 1, 32, 40)
    assert scores.argmax() == 0
    assert maps[0, 0, :16, :20].max() == maps[0].max()


def test_readme_example_sums_in_double_precision(nearest_mean):
    # Sums of float32 would have lost the small part.
    module = nearest_mean.learned
    module.num_images = 2
    module.reset()
    for offset in (1e6, -1e6):
        module.update(torch.full((1, 3, 2, 2), offset + 0.125), [0])
    module.finalize()
    assert module.mean.tolist() == [0.125] * 3


def test_readme_example_forgets_an_earlier_fit(nearest_mean, fit, images):
    first = fit(nearest_mean, images).learned.mean
    fit(nearest_mean, 3 * images)
    assert not torch.equal(nearest_mean.learned.mean, first)
    fit(nearest_mean, images)
    assert torch.equal(nearest_mean.learned.mean, first)


def _fitted_mean(rank, detector, images):
    return fit_shard(detector, images).learned.mean


def test_readme_example_on_two_processes(nearest_mean, fit, images,
                                         run_processes):
    found = run_processes(2, _fitted_mean, copy.deepcopy(nearest_mean), images)
    alone = fit(nearest_mean, images).learned.mean
    for mean in found:
        torch.testing.assert_close(mean, alone, rtol=1e-7, atol=1e-7)


def test_readme_example_in_the_tools(readme, run_tool, mvtec_root):
    result = run_tool(readme, 'train.py', 'nearest_mean_demo.py',
                      '--data-root', mvtec_root, '--category', 'bottle',
                      '--work-dir', 'work')
    assert result.status == 0, result.err
    metrics = json.loads((readme / 'work/metrics.json').read_text())
    assert metrics['pixel_auroc'] > 0.5


@pytest.mark.parametrize('page', PAGES, ids=_name)
def test_page_names_files_that_exist(page):
    named = re.findall(
        r'(?<![\w/.-])(?:configs|tools|docs|tests|mmad)/[\w./-]+\.\w+',
        page.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize('page', PAGES, ids=_name)
def test_page_has_valid_python(page):
    for code in _python_snippets(page):
        compile(code, str(page), 'exec')


@pytest.mark.parametrize('page', LINKED_PAGES, ids=_name)
def test_links_have_a_text(page):
    assert not re.findall(r'\[\s*\]\([^)]*\)', _without_code(page))


@pytest.mark.parametrize('page', LINKED_PAGES, ids=_name)
def test_links_lead_to_files_and_headings_on_github(page):
    broken = []
    for link in _relative_links(_without_code(page)):
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


def test_table_of_contents_links_each_page():
    page = ROOT / 'docs' / 'index.md'
    linked = {(page.parent / link).resolve()
              for link in _relative_links(_without_code(page))}
    # The last two include files of the root folder, which are linked instead.
    others = {
        page, ROOT / 'README.md', ROOT / 'SECURITY.md',
        page.with_name('changelog.md'),
        page.with_name('contributing.md')
    }
    assert {*LINKED_PAGES} - others <= linked


def test_api_page_names_everything_public():
    text = (ROOT / 'docs' / 'api.md').read_text()
    missing = []
    for name in ('mmad.apis', 'mmad.deploy', 'mmad.datasets',
                 'mmad.datasets.transforms', 'mmad.engine', 'mmad.evaluation',
                 'mmad.evaluation.functional', 'mmad.models',
                 'mmad.models.layers', 'mmad.models.losses', 'mmad.structures',
                 'mmad.utils', 'mmad.visualization'):
        module = importlib.import_module(name)
        for public in module.__all__:
            part = getattr(module, public)
            home = getattr(part, '__module__', None)
            # Not packages, nor what is re-exported from elsewhere.
            if home is None or not home.startswith('mmad.'):
                continue
            if f'automodule:: {home}\n' not in text and not re.search(
                    rf'\.{public}$', text, re.MULTILINE) and not re.search(
                        rf'members:.*\b{public}\b', text):
                missing.append(f'{name}.{public}')
    assert not missing


def _without_code(page):
    """What GitHub shows of a page as text."""
    text = re.sub(r'<!--.*?-->', '', page.read_text(), flags=re.DOTALL)
    text = re.sub(r'^ *```.*?^ *```', '', text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r'(?<!\[)`[^`\n]*`(?!\])', '', text)


def _relative_links(text):
    return [
        link for link in re.findall(r'\]\(([^)\s]+)\)', text)
        if not re.match(r'[a-z]+:', link)
    ]


def _anchors(page):
    """Anchors of the headings of a page on GitHub and in the built docs.

    Those have them for three levels.
    """
    text = re.sub(
        r'^ *```.*?^ *```',
        '',
        page.read_text(),
        flags=re.DOTALL | re.MULTILINE)
    anchors = set()
    for heading in re.findall(r'^#{1,3} +(.*?) *$', text, re.MULTILINE):
        heading = re.sub(r'\[(.*?)\]\(.*?\)', r'\1', heading)
        slug = re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        number = 0
        while (anchor := f'{slug}-{number}' if number else slug) in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


def test_own_data_pages_inherit_a_config_that_takes_their_keys():
    for page in (ROOT / 'docs/own_data.md', ):
        code, = (code for code in _python_snippets(page) if 'parts' in code)
        cfg = Config.fromstring(
            code.replace("'configs/", f"'{ROOT.as_posix()}/configs/"), '.py')
        assert cfg.test_dataloader.dataset.type == 'FolderDataset'
        assert cfg.test_dataloader.dataset.split == 'test'
        assert cfg.train_dataloader.dataset.split == 'train'
        assert cfg.train_dataloader.dataset.normal_dir == 'good'


def _python_snippets(page):
    return re.findall(r'^```python\n(.*?)^```', page.read_text(),
                      re.MULTILINE | re.DOTALL)
