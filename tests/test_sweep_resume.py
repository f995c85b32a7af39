"""Sweeps in which something fails, and what `--resume` makes of them."""
import json

import pytest
from config_texts import ROOT
from run_tools import calls

DEMO = ROOT / 'configs/patchcore/patchcore_demo.py'
FIT, TEST = ('train', '--no-validate'), ('test', )
NAMES = ('bolt', 'gear', 'nut')


@pytest.fixture(autouse=True)
def package_is_found(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


@pytest.fixture
def sweep(run_tool, quick_sweep, tmp_path):
    """Sweep three categories with stand-ins for the tools it starts."""
    for name in NAMES:
        (tmp_path / 'data' / name / 'train/good').mkdir(parents=True)
        (tmp_path / 'work' / name).mkdir(parents=True)
    (tmp_path / 'data/notes/train').mkdir(parents=True)

    def run(*options):
        return run_tool(tmp_path, quick_sweep, DEMO, '--data-root', 'data',
                        '--work-dir', 'work', *options)

    return run


def spoil(tmp_path, category, tool, text):
    (tmp_path / 'work' / category / f'{tool}.spoil').write_text(text)


def mend(tmp_path, category, tool):
    (tmp_path / 'work' / category / f'{tool}.spoil').unlink()


def steps(tmp_path, category):
    return [(call['tool'], *call['options'])
            for call in calls(tmp_path / 'work', category)]


def written(tmp_path):
    return json.loads((tmp_path / 'work/sweep.json').read_text())


def test_one_failure_takes_nothing_along(sweep, tmp_path):
    spoil(tmp_path, 'gear', 'train', 'sys.exit("error: no gears.")')
    result = sweep()
    assert result.status == 1
    assert list(written(tmp_path)['categories']) == ['bolt', 'nut']
    assert written(tmp_path)['failed'] == dict(gear='no gears.')
    lines = result.out.splitlines()
    assert lines[0] == 'bolt: started'
    assert lines[1].startswith(
        'bolt: image_auroc 75.0%, aupro undefined (fit ')
    assert lines[3] == 'gear: FAILED, no gears. (log: work/gear/sweep.log)'
    assert lines[-1] == ('Failed: gear. Correct the cause and run again with '
                         '--resume.')
    assert steps(tmp_path, 'bolt') == [FIT, TEST]
    log = (tmp_path / 'work/bolt/sweep.log').read_text().splitlines()
    assert log[1::2] == ['Some words'] * 2
    assert 'train.py' in log[0]
    assert 'epoch_1.pth' in log[2]


def test_resume_ends_it(sweep, tmp_path):
    spoil(tmp_path, 'gear', 'train', 'sys.exit("no gears")')
    sweep()
    mend(tmp_path, 'gear', 'train')
    result = sweep('--resume')
    assert result.status == 0
    assert not written(tmp_path)['failed']
    assert list(written(tmp_path)['categories']) == list(NAMES)
    assert steps(tmp_path, 'bolt') == [FIT, TEST]
    assert result.out.splitlines()[:3] == [
        'bolt: finished before', 'nut: finished before', 'gear: started'
    ]


@pytest.mark.parametrize(('tool', 'text', 'words'), [
    ('test', 'raise KeyError("bug\\n\\n")', "KeyError: "),
    ('test', 'os.kill(os.getpid(), 9)', 'ended by SIGKILL, often for lack'),
    ('train', 'os.abort()', 'ended by SIGABRT.'),
    ('train', 'sys.exit(0)', 'the fit wrote no checkpoint'),
    ('test', 'sys.exit(0)', 'the test wrote no metrics.json'),
])
def test_failures(sweep, tmp_path, tool, text, words):
    spoil(tmp_path, 'nut', tool, text)
    assert sweep('--categories', 'nut').status == 1
    assert written(tmp_path)['failed']['nut'].startswith(words)
    record = json.loads((tmp_path / 'work/nut/sweep_record.json').read_text())
    assert 'result' not in record
    assert ('fit_seconds' in record) == (tool == 'test')


def test_resume_repeats_a_failed_test_only(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'test', 'sys.exit(1)')
    sweep('--categories', 'nut')
    mend(tmp_path, 'nut', 'test')
    assert sweep('--categories', 'nut', '--resume').status == 0
    assert steps(tmp_path, 'nut') == [FIT, TEST, TEST]
    assert written(tmp_path)['categories']['nut']['fit_seconds'] > 0


CHECKPOINT = ('(folder / "epoch_1.pth").touch();'
              '(folder / "last_checkpoint").write_text('
              'str(folder / "epoch_1.pth"));')


def test_resume_goes_on_from_a_checkpoint(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'train', CHECKPOINT + 'sys.exit(1)')
    sweep('--categories', 'nut')
    mend(tmp_path, 'nut', 'train')
    assert sweep('--categories', 'nut', '--resume').status == 0
    assert steps(tmp_path, 'nut') == [FIT, (*FIT, '--resume'), TEST]
    # How long the part before took is not known.
    assert written(tmp_path)['categories']['nut']['fit_seconds'] is None
    assert ' - ' in (tmp_path / 'work/sweep.md').read_text()


def test_resume_fits_anew_without_the_checkpoint(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'test', 'sys.exit(1)')
    sweep('--categories', 'nut')
    (tmp_path / 'work/nut/epoch_1.pth').unlink()
    # Half a fit is not tested either.
    spoil(tmp_path, 'nut', 'train', CHECKPOINT + 'sys.exit(1)')
    sweep('--categories', 'nut', '--resume')
    sweep('--categories', 'nut', '--resume')
    assert steps(tmp_path, 'nut') == [FIT, TEST, FIT, (*FIT, '--resume')]


def test_resume_with_another_config(sweep, tmp_path):
    sweep('--categories', 'nut', 'gear')
    result = sweep('--categories', 'nut', '--resume', '--cfg-options',
                   'model.coreset_ratio=0.5')
    assert 'nut: the config has changed, starting again' in result.out
    assert steps(tmp_path, 'nut') == [FIT, TEST] * 2
    # The other one is as it was.
    assert 'gear: finished before' in sweep('--categories', 'gear',
                                            '--resume').out


def test_resume_does_not_take_up_a_run_by_hand(sweep, tmp_path):
    folder = tmp_path / 'work/nut'
    (folder / 'epoch_1.pth').touch()
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    sweep('--categories', 'nut', '--resume')
    assert steps(tmp_path, 'nut') == [FIT, TEST]


def test_without_resume_all_is_done_anew(sweep, tmp_path):
    sweep('--categories', 'nut', 'bolt')
    # Whatever fails now leaves nothing for --resume to take up.
    spoil(tmp_path, 'nut', 'train', 'sys.exit(1)')
    sweep('--categories', 'nut', 'bolt')
    assert list(written(tmp_path)['categories']) == ['bolt']
    assert steps(tmp_path, 'bolt') == [FIT, TEST] * 2
    log = (tmp_path / 'work/bolt/sweep.log').read_text()
    assert len(log.splitlines()) == 4


def test_a_bug_of_the_sweep_keeps_its_traceback(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'test',
          '(folder / "metrics.json").write_text("{"); sys.exit(0)')
    result = sweep('--categories', 'nut')
    assert result.status == 1
    assert 'JSONDecodeError' in result.err
