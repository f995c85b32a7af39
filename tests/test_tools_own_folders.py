"""`train.py` and `test.py` on folders that the command line names."""
import json
import shutil

import pytest
from config_texts import ROOT
from mmengine.config import Config
from run_tools import is_one_sentence

from mmad.utils import load_checkpoint

CONFIG = """
_base_ = '{root}/configs/patchcore/patchcore_resnet18_10pct_folder.py'
model = dict(backbone=dict(weights=None), num_neighbors=3, sigma=2.0)
pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs'),
]
loader = dict(
    batch_size=3, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = loader
"""


@pytest.fixture
def parts(mvtec_root, tmp_path):
    """Folder with good and bad images, in no usual layout."""
    folder = tmp_path / 'Teile für Köln'
    category = mvtec_root / 'bottle'
    shutil.copytree(category / 'train/good', folder / 'good')
    shutil.copytree(category / 'test/hole', folder / 'bad/hole')
    shutil.copytree(category / 'test/scratch', folder / 'bad/scratch')
    shutil.copytree(category / 'ground_truth', folder / 'masks')
    (tmp_path / 'tiny.py').write_text(CONFIG.format(root=ROOT))
    return folder


def test_good_images_alone(run_tool, parts, tmp_path):
    result = run_tool(tmp_path, 'train.py', 'tiny.py', '--normal-dir',
                      'Teile für Köln/good')
    assert result.status == 0, result.err
    work_dir = tmp_path / 'work_dirs/tiny/Teile für Köln'
    held_out = json.loads((work_dir / 'held_out.json').read_text())
    scored = json.loads((work_dir / 'calibration.json').read_text())['images']
    # Of the seven images, one is for testing.
    assert len(held_out) == 1
    assert sorted(held_out + [image['path'] for image in scored]) == sorted(
        map(str, (parts / 'good').iterdir()))
    said = dict(
        line.split(': ', 1) for line in result.out.splitlines()
        if ': ' in line)
    assert said['Held out for testing'].startswith('1 images, in work_dirs')
    scores = sorted(image['score'] for image in scored)
    assert said['Their scores'].startswith(f'{scores[0]:.4g} (lowest), ')
    assert said['Their scores'].endswith(f' {scores[-1]:.4g} (highest)')
    above, number = said['Normal test images above the threshold of '
                         f'{scores[-1]:.4g}'].split(' (')[0].split(' of ')
    assert (int(above) in (0, 1), number) == (True, '1')
    # There is nothing to put into the table.
    assert 'defect_type' not in result.out
    assert 'nan' not in result.out


def test_all_folders_and_the_dumped_config(run_tool, parts, tmp_path):
    folders = [
        '--normal-dir', 'Teile für Köln/good', '--abnormal-dir',
        'Teile für Köln/bad', '--mask-dir', parts / 'masks'
    ]
    result = run_tool(tmp_path, 'train.py', 'tiny.py', *folders, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    metrics = json.loads((tmp_path / 'work/metrics.json').read_text())
    assert set(metrics['per_defect_type']) == {'hole', 'scratch'}
    assert metrics['pixel_auroc'] > 0.5

    dumped = tmp_path / 'work' / 'tiny.py'
    dataset = Config.fromfile(dumped).test_dataloader.dataset
    assert dataset.data_root == str(parts)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    assert 'memory_bank.rows' in load_checkpoint(str(checkpoint))['state_dict']
    # From another folder, without naming the images again; and as before.
    for number, args in enumerate([[dumped], [tmp_path / 'tiny.py',
                                              *folders]]):
        where = tmp_path / 'elsewhere' if number == 0 else tmp_path
        again = f'again{number}'
        result = run_tool(where, 'test.py', args[0], checkpoint, *args[1:],
                          '--work-dir', again)
        assert result.status == 0, result.err
        found = json.loads((where / again / 'metrics.json').read_text())
        assert found == metrics


@pytest.mark.parametrize(('args', 'words'), [
    (['padim_resnet18_mvtec', '--normal-dir', 'x'], 'the MVTecAD of this'),
    (['padim_resnet18_folder', '--normal-dir', 'nowhere'
      ], 'nowhere" does not exist or holds no images'),
    (['padim_resnet18_folder'], '(--normal-dir)'),
    (['padim_resnet18_folder', '--normal-dir', 'x', '--mask-dir', 'x'
      ], 'no `abnormal_dir`'),
    (['padim_resnet18_foldr', '--normal-dir', 'x'
      ], 'did you mean padim_resnet18_folder'),
    (['configs/padim/padim_demo.py'], 'one named `padim_demo`'),
])
def test_wrong_input(args, words, run_tool, tmp_path):
    result = run_tool(tmp_path, 'train.py', *args)
    assert is_one_sentence(result), result.err
    assert words in result.err


def few_images(parts, number):
    for path in sorted((parts / 'good').iterdir())[number:]:
        path.unlink()
    return parts / 'good'


def test_only_one_image(run_tool, parts, tmp_path):
    result = run_tool(tmp_path, 'train.py', 'tiny.py', '--normal-dir',
                      few_images(parts, 1))
    assert is_one_sentence(result), result.err
    assert 'holds only one image' in result.err


def test_too_few_images_for_a_threshold(run_tool, parts, tmp_path):
    result = run_tool(tmp_path, 'train.py', 'tiny.py', '--normal-dir',
                      few_images(parts, 3), '--work-dir', 'work')
    assert result.status == 0, result.err
    assert 'too few training images (2)' in result.out + result.err
    assert (tmp_path / 'work/epoch_1.pth').exists()
