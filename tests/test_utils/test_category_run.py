import json
from types import SimpleNamespace

import pytest

from mmad.utils.category_run import CategoryError


@pytest.fixture
def finish():
    """Let a run take all its steps; the returned one is complete."""

    def finish_run(run, resume=False, environment=()):
        dropped = run.prepare(resume)
        for process in run.steps(dict(environment)):
            process.wait()
        return SimpleNamespace(dropped=dropped, result=run.result)

    return finish_run


def calls(run):
    found = map(json.loads, (run.folder / 'calls').read_text().splitlines())
    return [(call['tool'], *call['options']) for call in found]


def record(run):
    return json.loads((run.folder / 'sweep_record.json').read_text())


FIT, TEST = ('train', '--no-validate'), ('test', )


def test_fit_and_test(make_run, finish):
    run = make_run(model='PatchCore')

    finish(run)

    assert calls(run) == [FIT, TEST]
    assert run.result.pop('fit_seconds') > 0
    assert run.result.pop('test_seconds') > 0
    assert run.result == dict(
        metrics=dict(image_auroc=0.75, aupro='undefined'),
        conditions=dict(images=8))
    assert (run.folder / 'sweep_config/method.py').read_text() == (
        "model = 'PatchCore'\n")
    log = run.log.read_text().splitlines()
    assert log[1::2] == ['Some words'] * 2
    assert 'train.py' in log[0]
    assert 'epoch_1.pth' in log[2]


def test_variables_reach_the_processes(make_run, finish):
    run = make_run()
    finish(run, environment=dict(SLOT='2'))
    assert '"SLOT": "2"' in (run.folder / 'calls').read_text()


@pytest.mark.parametrize(('tool', 'spoil', 'words'), [
    ('train', 'sys.exit("error: no such folder.")', r'^no such folder\.$'),
    ('test', 'raise KeyError("bug\\n\\n")', "^KeyError: "),
    ('test', 'os.kill(os.getpid(), 9)', 'ended by SIGKILL, often for want'),
    ('train', 'os.abort()', r'ended by SIGABRT\.'),
    ('train', 'sys.exit(0)', 'the fit wrote no checkpoint'),
    ('test', 'sys.exit(0)', r'the test wrote no metrics\.json'),
])
def test_failure(make_run, finish, tool, spoil, words):
    run = make_run()
    (run.folder / f'{tool}.spoil').write_text(spoil)
    with pytest.raises(CategoryError, match=words):
        finish(run)
    assert run.result is None
    assert ('fit_seconds' in record(run)) == (tool == 'test')


def test_stale_metrics_are_no_result(make_run, finish):
    run = make_run()
    finish(run)
    (run.folder / 'test.spoil').write_text('sys.exit(0)')
    with pytest.raises(CategoryError):
        finish(run)


def test_resume_takes_up_a_result(make_run, finish):
    run, again = make_run(model='a'), make_run(model='a')
    finish(run)
    assert not again.prepare(resume=True)
    assert again.result == run.result


def test_resume_repeats_a_failed_test_only(make_run, finish):
    run = make_run()
    spoil = run.folder / 'test.spoil'
    spoil.write_text('sys.exit(1)')
    with pytest.raises(CategoryError):
        finish(run)
    fit_seconds = record(run)['fit_seconds']
    spoil.unlink()

    again = make_run()
    finish(again, resume=True)

    assert calls(run) == [FIT, TEST, TEST]
    assert again.result['fit_seconds'] == fit_seconds


def test_resume_goes_on_from_a_checkpoint(make_run, finish):
    run = make_run()
    spoil = run.folder / 'train.spoil'
    spoil.write_text(
        '(folder / "epoch_1.pth").touch();'
        '(folder / "last_checkpoint").write_text(str(folder/"epoch_1.pth"));'
        'sys.exit(1)')
    with pytest.raises(CategoryError):
        finish(run)
    spoil.unlink()

    again = make_run()
    finish(again, resume=True)

    assert calls(run) == [FIT, (*FIT, '--resume'), TEST]
    assert again.result['fit_seconds'] is None


def test_resume_fits_anew_without_the_checkpoint(make_run, finish):
    run = make_run()
    (run.folder / 'test.spoil').write_text('sys.exit(1)')
    with pytest.raises(CategoryError):
        finish(run)
    (run.folder / 'test.spoil').unlink()
    (run.folder / 'epoch_1.pth').unlink()

    again = make_run()
    finish(again, resume=True)

    assert calls(run) == [FIT, TEST, FIT, TEST]
    assert again.result['fit_seconds'] > 0


def test_half_a_fit_is_not_tested(make_run, finish):
    run = make_run()
    finish(run)
    (run.folder / 'epoch_1.pth').unlink()
    saved = record(run)
    del saved['result']
    (run.folder / 'sweep_record.json').write_text(json.dumps(saved))
    (run.folder / 'train.spoil').write_text(
        '(folder / "epoch_1.pth").touch(); sys.exit(1)')
    for _ in range(2):
        with pytest.raises(CategoryError):
            finish(make_run(), resume=True)
    assert calls(run) == [FIT, TEST, FIT, (*FIT, '--resume')]


def test_resume_with_another_config(make_run, finish):
    run, other = make_run(ratio=0.1), make_run(ratio=0.2)
    finish(run)

    # What cannot be taken up stays until the new run starts.
    assert other.prepare(resume=True)
    assert other.result is None
    assert not make_run(ratio=0.1).prepare(resume=True)

    assert finish(other, resume=True).dropped
    assert calls(run) == [FIT, TEST] * 2


def test_resume_does_not_take_up_a_run_by_hand(make_run, finish):
    run = make_run()
    (run.folder / 'epoch_1.pth').touch()
    (run.folder / 'last_checkpoint').write_text(
        str(run.folder / 'epoch_1.pth'))
    assert not finish(run, resume=True).dropped
    assert calls(run) == [FIT, TEST]


def test_without_resume_all_is_done_anew(make_run, finish):
    run, again = make_run(), make_run()
    finish(run)
    assert not again.prepare(resume=False)
    # So an interruption right now leaves nothing to take up.
    assert make_run().prepare(resume=True) is False
    assert make_run().result is None
    finish(again)
    assert calls(run) == [FIT, TEST] * 2
    assert len(run.log.read_text().splitlines()) == 4
