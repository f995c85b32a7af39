"""Sweeps with few training images, and published results in sweeps."""
import json
import runpy
from statistics import mean, stdev

import numpy as np
import pytest
from config_texts import ROOT
from mmengine.config import Config
from run_tools import calls, is_one_sentence

from mmad.datasets import MVTecAD

DEMO = ROOT / 'configs/patchcore/patchcore_demo.py'
MVTEC = ROOT / 'configs/patchcore/patchcore_wrn50_10pct_mvtec.py'
TILES = ('patchcore_resnet18_1pct_mvtec', '--data', 'magnetic_tile')
FOLDER = ROOT / 'configs/patchcore/patchcore_resnet18_10pct_folder.py'
DIGITS = ROOT / 'configs/patchcore/patchcore_demo_digits.py'
LOW_SHOT = ('--cfg-options', 'model.coreset_ratio=0.25')


@pytest.fixture(autouse=True)
def package_is_found(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


@pytest.fixture(scope='module')
def tool():
    """What `tools/sweep.py` defines."""
    return runpy.run_path(str(ROOT / 'tools/sweep.py'))


@pytest.fixture
def sweep(run_tool, quick_sweep, tmp_path):
    """Sweep small data sets with stand-ins for the tools it starts."""
    for name, number in dict(gear=4, nut=6, bottle=2, cable=2).items():
        root = 'mvtec' if name in MVTecAD.CATEGORIES else 'data'
        folder = tmp_path / root / name / 'train/good'
        folder.mkdir(parents=True)
        for index in range(number):
            (folder / f'{index}.png').touch()

    def run(*options, path=DEMO, root='data'):
        return run_tool(tmp_path, quick_sweep, path, '--data-root', root,
                        '--work-dir', 'work', *options)

    return run


def written(tmp_path, name='shots'):
    return json.loads((tmp_path / 'work' / f'{name}.json').read_text())


def cells(text):
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in text.splitlines()
            if line.startswith('|') and set(line) != set('|-')]


def result(value, **metrics):
    return dict(
        metrics=dict(image_auroc=value, **metrics),
        conditions={},
        fit_seconds=1.0,
        test_seconds=2.0)


# Draws


def test_draws_are_the_same_everywhere(tool):
    draw = tool['draw_images']
    assert draw(209, 5, 0) == [5, 12, 33, 80, 187]
    assert draw(209, 1, 0) == [12]
    assert draw(60, 3, 4) != draw(60, 3, 5)


def test_draws(tool):
    draw = tool['draw_images']
    for seed in range(20):
        few, more, most = (draw(7, shots, seed) for shots in (2, 5, 7))
        assert set(few) < set(more) < set(most) == set(range(7))
        assert more == sorted(more)
    counts = np.bincount(
        [index for seed in range(700) for index in draw(7, 2, seed)])
    # 200 of each are expected, with a standard deviation of 12.
    assert abs(counts - 200).max() < 60


def test_each_run_has_its_images(sweep, tmp_path, tool):
    status = sweep('--shots', '3', '1', '3', '--seeds', '2').status
    assert status == 0
    runs = {}
    for path in sorted((tmp_path / 'work').glob('*/*/*/sweep_config/*.py')):
        cfg = Config.fromfile(path)
        runs[str(path.relative_to(tmp_path / 'work').parents[1])] = (
            cfg.train_dataloader.dataset.indices)
        assert 'indices' not in cfg.test_dataloader.dataset
    draw = tool['draw_images']
    assert runs == {
        f'{name}/{shots}_shot/seed_{seed}': draw(number, shots, seed)
        for name, number in (('gear', 4), ('nut', 6))
        for shots in (1, 3)
        for seed in (0, 1)
    }
    table = cells((tmp_path / 'work/shots.md').read_text())
    assert [row[:4] for row in table] == [
        ['category', 'shots', 'seeds', 'image_auroc'],
        ['gear', '1', '2', '75.0 ± 0.0'],
        ['gear', '3', '2', '75.0 ± 0.0'],
        ['nut', '1', '2', '75.0 ± 0.0'],
        ['nut', '3', '2', '75.0 ± 0.0'],
        ['mean', '1', '2', '75.0 ± 0.0'],
        ['mean', '3', '2', '75.0 ± 0.0'],
    ]


def test_one_failure_takes_nothing_along(sweep, tmp_path):
    folder = tmp_path / 'work/nut/2_shot/seed_0'
    folder.mkdir(parents=True)
    (folder / 'train.spoil').write_text('sys.exit("error: no nuts.")')
    options = ('--shots', '2', '--seeds', '2', '--categories', 'nut')
    out = sweep(*options)
    assert out.status == 1
    assert out.out.splitlines()[-1].startswith('Failed: nut/2_shot/seed_0.')
    content = written(tmp_path)
    assert content['failed'] == {'nut/2_shot/seed_0': 'no nuts.'}
    assert content['rows'][0]['seeds'] == content['means'][0]['seeds'] == [1]
    text = (tmp_path / 'work/shots.md').read_text()
    assert 'nut/2_shot/seed_0 failed: no nuts.' in text

    (folder / 'train.spoil').unlink()
    out = sweep(*options, '--resume')
    assert out.status == 0
    assert out.out.count('finished before') == 1
    assert len(calls(tmp_path / 'work/nut/2_shot', 'seed_1')) == 2
    assert written(tmp_path)['rows'][0]['seeds'] == [0, 1]


def test_more_draws_later(sweep, tmp_path):
    options = ('--categories', 'nut', '--shots', '1')
    assert sweep(*options, '--seeds', '1').status == 0
    out = sweep(*options, '2', '--seeds', '2', '--resume')
    assert out.status == 0
    assert out.out.count('finished before') == 1
    assert len(written(tmp_path)['runs']) == 4
    assert 'Not finished' not in (tmp_path / 'work/shots.md').read_text()


# The table


@pytest.fixture
def values():
    return np.random.default_rng(1).random((2, 3))


@pytest.fixture
def table(tool, values):
    table = tool['ShotTable']('method', ['b', 'a'], ['a', 'b', 'c'], [5], 3)
    for category, row in zip('ba', values):
        for seed, value in enumerate(row):
            table.results[f'{category}/5_shot/seed_{seed}'] = result(
                float(value))
    return table


def percent(row):
    return f'{100 * mean(row):.1f} ± {100 * stdev(row):.1f}'


def test_mean_and_spread(table, values):
    rows = cells(table.to_markdown())[1:]
    assert rows == [['b', '5', '3', percent(values[0])],
                    ['a', '5', '3', percent(values[1])],
                    ['mean of 2 of 3', '5', '3',
                     percent(values.mean(0))]]
    spread = table.summarize()['means'][0]['metrics']['image_auroc']
    assert spread['std'] == pytest.approx(values.mean(0).std(ddof=1))
    assert 'Not in this sweep: c.' in table.to_markdown()


def test_means_take_complete_seeds(table, values):
    del table.results['a/5_shot/seed_1']
    rows = cells(table.to_markdown())[1:]
    assert rows[0][2:] == ['3', percent(values[0])]
    assert rows[2][2:] == ['2', percent(values[:, [0, 2]].mean(0))]
    assert 'Not finished: a/5_shot/seed_1.' in table.to_markdown()
    del table.results['a/5_shot/seed_2']
    rows = cells(table.to_markdown())[1:]
    # Of one seed there is no spread.
    assert rows[1][2:] == ['1', f'{100 * values[1, 0]:.1f}']
    del table.results['a/5_shot/seed_0']
    assert cells(table.to_markdown())[2][:3] == ['mean of 1 of 3', '5', '3']


def test_metrics_that_some_runs_lack(table):
    for *_, name in table.runs():
        table.results[name]['metrics']['pixel_auroc'] = 1.0
        # As without a threshold, which takes three images.
        if name.startswith('b'):
            table.results[name]['metrics']['image_recall'] = 0.5
    table.results['a/5_shot/seed_0']['metrics']['image_auroc'] = 'undefined'
    rows = [row[3:] for row in cells(table.to_markdown())]
    assert rows[0] == ['image_auroc', 'image_recall', 'pixel_auroc']
    assert rows[1][1:] == ['50.0 ± 0.0', '100.0 ± 0.0']
    assert rows[2][:2] == ['undefined', '-']
    assert rows[3][:2] == ['undefined', '-']
    json.dumps(table.summarize(), allow_nan=False)


# Published results


def test_finished_sweep_against_the_paper(run_tool, quick_sweep, tmp_path):
    command = (quick_sweep, MVTEC, '--work-dir', 'work', '--categories',
               'wood', 'bottle')
    assert run_tool(tmp_path, *command).status == 0
    assert 'paper' not in (tmp_path / 'work/sweep.md').read_text()
    out = run_tool(tmp_path, *command, '--resume', '--against', 'paper')
    assert out.status == 0
    assert out.out.count('finished before') == 2
    assert len(calls(tmp_path / 'work', 'wood')) == 2
    text = (tmp_path / 'work/sweep.md').read_text()
    assert text in out.out
    assert [row[:-2] for row in cells(text)
            ] == [[
                'category', 'image_auroc', 'image_auroc, paper', 'aupro',
                'aupro, paper'
            ], ['wood', '75.0', '-', 'undefined', '-'],
                  ['bottle', '75.0', '-', 'undefined', '-'],
                  ['mean of 1 of 5 textures', '75.0', '-', 'undefined', '-'],
                  ['mean of 1 of 10 objects', '75.0', '-', 'undefined', '-'],
                  ['mean of 2 of 15', '75.0', '-', 'undefined', '-'],
                  ['mean of 15', '-', '99.0', '-', '93.5']]
    assert 'https://arxiv.org/abs/2106.08265' in text
    assert 'Source of image_auroc, aupro: results of the paper' in text
    assert 'Published, but not measured here: pixel_auroc.' in text
    assert 'The settings that the source states are the same here.' in text
    content = written(tmp_path, 'sweep')
    assert content['against']['figures']['aupro']['mean'] == 0.935
    assert content['categories']['wood']['published']['pixel_auroc'] == 0.951


def test_whole_sweep_against_the_paper(tool):
    cfg = Config.fromfile(MVTEC)
    cfg.model.coreset_ratio = 0.01
    published = tool['require_published']('paper', cfg, [])[None]
    names = MVTecAD.CATEGORIES
    table = tool['SweepTable']('method', names, names,
                               dict(textures=MVTecAD.TEXTURES), published)
    for name in names:
        table.results[name] = result(0.75, aupro=0.5)
    rows = {row[0]: row[1:5] for row in cells(table.to_markdown())}
    assert len(rows) == 1 + 15 + 2
    assert rows['cable'] == ['75.0', '99.3', '50.0', '-']
    assert rows['mean'] == ['75.0', '99.0', '50.0', '93.1']
    # The source has no mean of these, so it is computed.
    textures = [float(rows[name][1]) for name in MVTecAD.TEXTURES]
    assert rows['mean of textures'][1] == f'{mean(textures):.1f}'


def test_few_images_against_the_paper(sweep):
    out = sweep(
        *('--categories', 'bottle', 'cable', '--shots', '1', '2', '--seeds',
          '1', '--against', 'paper', *LOW_SHOT),
        path=MVTEC,
        root='mvtec')
    assert out.status == 0, out.err
    assert [row[:6] for row in cells(out.out)[-3:]] == [
        ['mean of 2 of 15', '1', '1', '75.0', '-', 'undefined'],
        ['mean of 2 of 15', '2', '1', '75.0', '-', 'undefined'],
        ['mean of 15', '1', '-', '-', '84.1', '-'],
    ]
    assert 'Published, 1-shot: "Towards Total Recall' in out.out
    assert 'Source of image_auroc: low-shot experiment of the' in out.out


def test_few_images_of_all_categories_against_the_paper(tool):
    cfg = Config.fromfile(MVTEC)
    found = tool['require_published']('paper', cfg, [1, 16])
    names = MVTecAD.CATEGORIES
    table = tool['ShotTable']('method', names, names, [1, 16], 1, found)
    for *_, name in table.runs():
        table.results[name] = result(0.75)
    rows = cells(table.to_markdown())
    assert [row[:5] for row in rows[-2:]] == [
        ['mean', '1', '1', '75.0', '84.1'],
        ['mean', '16', '1', '75.0', '95.5'],
    ]
    assert all(row[4] == '-' for row in rows[1:-2])
    del table.results['wood/16_shot/seed_0']
    assert cells(table.to_markdown())[-2:] == [
        ['mean of 14 of 15', '16', '1', '75.0', '-'],
        ['mean of 15', '16', '-', '-', '95.5'],
    ]


# Data sets without categories, and of classes


def test_a_data_set_without_categories_is_one_run(run_tool, quick_sweep,
                                                  tmp_path):
    out = run_tool(tmp_path, quick_sweep, *TILES, '--work-dir', 'work',
                   '--against', 'paper')
    assert out.status == 0, out.err
    rows = cells((tmp_path / 'work/sweep.md').read_text())
    assert [row[:3] for row in rows[1:]] == [['MagneticTile', '75.0', '97.9'],
                                             ['mean', '75.0', '97.9']]
    path, = tmp_path.glob('work/MagneticTile/sweep_config/*.py')
    assert Config.fromfile(path).test_dataloader.dataset.category is None


def test_own_folders(run_tool, quick_sweep, tmp_path):
    out = run_tool(tmp_path, quick_sweep, FOLDER, '--work-dir', 'work')
    assert out.status == 0, out.err
    assert list(written(tmp_path, 'sweep')['categories']) == ['FolderDataset']


def test_classes(run_tool, quick_sweep, tmp_path):
    out = run_tool(tmp_path, quick_sweep, DIGITS, '--work-dir', 'work',
                   '--categories', '9', '0', '--shots', '5', '--seeds', '1')
    assert out.status == 0, out.err
    content = written(tmp_path)
    assert [row['name'] for row in content['rows']] == ['9', '0']
    assert content['means'][0]['name'] == 'mean of 2 of 10'


@pytest.mark.parametrize(('path', 'options', 'words'), [
    (DEMO, ['--shots', '1', '5', '--categories', 'nut', 'gear'
            ], '--shots 5: gear has only 4 training images; ask for fewer.'),
    (DEMO, ['--shots', '0'], '--shots must be at least 1, got 0.'),
    (DEMO, ['--shots', '1', '--seeds', '0'
            ], '--seeds must be at least 1, got 0.'),
    (DEMO, ['--seeds', '2'], '--seeds is the number of draws for --shots'),
    (DEMO, [
        '--shots', '1', '--cfg-options', 'train_dataloader.dataset.indices=3'
    ], 'chooses `train_dataloader.dataset.indices`, but the config sets'),
    (DEMO, ['--against', 'paper'],
     'there are no published results for --against paper of PatchCore on '
     'AnomalyDataset; there are some for'),
    (MVTEC, ['--shots', '1', '--categories', 'bottle'
             ], 'the data folder "data/bottle" does not exist'),
    (FOLDER, ['--categories', 'nut'
              ], 'the FolderDataset of this config has no `category`'),
])
def test_bad_input(sweep, tmp_path, path, options, words):
    out = sweep(*options, path=path)
    assert is_one_sentence(out), out.err
    assert words in out.err
    assert not (tmp_path / 'work').exists()
