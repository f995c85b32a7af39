"""The option --data of the tools, from the fit to the prediction."""
import json
import shlex

import cv2
import pytest
from imitations import IMITATIONS
from mmengine.config import Config
from run_tools import is_one_sentence, metrics

from mmad.apis import AnomalyInferencer

VISA = ('--data', 'visa', '--category', 'candle', '--data-root', 'visa')


@pytest.fixture(scope='module')
def on_visa(run_tool, config, tmp_path_factory):
    """Folder of a finished run on VisA of a config for MVTec AD."""
    folder = tmp_path_factory.mktemp('on_visa')
    IMITATIONS['visa'](folder / 'visa')
    result = run_tool(folder, 'train.py', config, *VISA)
    assert result.status == 0, result.err
    (folder / 'train_stdout').write_text(result.out)
    return folder


def test_results_have_a_folder_of_their_own(on_visa):
    work_dir = on_visa / 'work_dirs/tiny_on_visa/candle'
    assert [path.name for path in on_visa.glob('work_dirs/*/*')] == ['candle']
    report = json.loads(metrics(work_dir))
    assert set(report['per_defect_type']) == {'anomaly'}
    assert 0 <= report['aupro'] <= 1
    written = Config.fromfile(work_dir / 'tiny_on_visa.py')
    assert written.train_dataloader.dataset.type == 'VisA'


def test_output_names_both_files_and_the_next_command(on_visa, config,
                                                      run_tool):
    out = (on_visa / 'train_stdout').read_text()
    assert f'Config: {config}\n' in out
    assert '_base_/datasets/visa.py\n' in out
    work_dir = on_visa / 'work_dirs/tiny_on_visa/candle'
    before = metrics(work_dir)
    line, = (line for line in out.splitlines() if line.startswith('Next: '))
    _, script, *rest = shlex.split(line.removeprefix('Next: '))
    assert script.endswith('test.py')
    result = run_tool(on_visa, 'test.py', *rest)
    assert result.status == 0, result.err
    assert metrics(work_dir) == before
    assert len(list(work_dir.glob('heat_maps/*/*.png'))) == 8


def test_test_with_the_option(on_visa, config, run_tool):
    work_dir = on_visa / 'work_dirs/tiny_on_visa/candle'
    result = run_tool(on_visa, 'test.py', config, work_dir / 'epoch_1.pth',
                      *VISA, '--work-dir', 'again')
    assert result.status == 0, result.err
    assert metrics(on_visa / 'again') == metrics(work_dir)


def test_prediction_needs_no_option(on_visa):
    work_dir = on_visa / 'work_dirs/tiny_on_visa/candle'
    inferencer = AnomalyInferencer(work_dir / 'epoch_1.pth', device='cpu')
    image = next((on_visa / 'visa/candle/Data/Images/Anomaly').iterdir())
    assert inferencer(image)[0].pred_map.shape == (48, 48)


def test_browse_and_print(on_visa, run_tool):
    padim = ('padim_resnet18_mvtec', *VISA)
    result = run_tool(on_visa, 'browse_dataset.py', *padim, '--split', 'test',
                      '--number', '2', '--out-dir', 'drawn')
    assert result.status == 0, result.err
    # MVTec AD would be cropped.
    drawn = list(on_visa.glob('drawn/*/*.png'))
    assert [cv2.imread(str(path)).shape[:2]
            for path in drawn] == [(256, 256)] * 2
    result = run_tool(on_visa, 'print_config.py', *padim)
    assert result.status == 0, result.err
    (on_visa / 'printed.py').write_text(result.out)
    assert Config.fromfile(on_visa /
                           'printed.py').test_dataloader.dataset.type == 'VisA'


def test_sweep_over_the_categories_of_the_other(quick_sweep, run_tool,
                                                tmp_path):
    result = run_tool(tmp_path, quick_sweep, 'spade_resnet18_mvtec', '--data',
                      'btad', '--weights', quick_sweep)
    assert result.status == 0, result.err
    folder = tmp_path / 'work_dirs/spade_resnet18_mvtec_on_btad'
    table = json.loads((folder / 'sweep.json').read_text())
    assert list(table['categories']) == ['01', '02', '03']
    for name in table['categories']:
        config, = folder.glob(f'{name}/sweep_config/*.py')
        dataset = Config.fromfile(config).train_dataloader.dataset
        assert (dataset.type, dataset.category) == ('BTAD', name)


@pytest.mark.parametrize(('name', 'message'), [
    ('teacher_p33', 'inherits from no file with a data set for a detector'),
    ('patchcore_demo_lazy', 'leave --data out'),
])
def test_refused(run_tool, tmp_path, name, message):
    result = run_tool(tmp_path, 'train.py', name, '--data', 'visa')
    assert is_one_sentence(result)
    assert message in result.err
