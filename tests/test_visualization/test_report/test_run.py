import json

import pytest
from report_folders import draw_scores, make_predictions, write_run

from mmad.errors import InputError
from mmad.visualization.report.run import (
    find_differences,
    read_runs,
    short_names,
)


@pytest.mark.parametrize(('paths', 'names'), [
    (['/a/b/c.png'], ['c.png']),
    (['/a/b/c.png', '/a/d/c.png'], ['b/c.png', 'd/c.png']),
    (['a/x.png', 'a/x.png/y.png'], ['x.png', 'x.png/y.png']),
    (['x.png', 'x.png'], ['x.png', 'x.png']),
    ([''], ['.']),
    ([], []),
])
def test_short_names(paths, names):
    assert short_names(paths) == names


def test_reads_what_a_test_left(tmp_path):
    predictions = make_predictions(tmp_path, *draw_scores())
    folder = write_run(
        tmp_path / 'work',
        predictions,
        aupro='undefined',
        per_defect_type=dict(cut=dict(image_auroc=1.0)))
    run, = read_runs([folder])
    assert run.name == 'work'
    assert run.metrics == dict(aupro='undefined', image_auroc=0.9)
    assert run.per_defect_type == dict(cut=dict(image_auroc=1.0))
    assert run.image_names[:2] == ['000.png', '001.png']
    assert run.notes == []


def test_says_what_is_missing(tmp_path):
    predictions = make_predictions(tmp_path, *draw_scores())
    bare = write_run(tmp_path / 'bare')
    lost = write_run(tmp_path / 'lost', predictions)
    (lost / 'metrics.json').unlink()
    mixed = write_run(
        tmp_path / 'mixed', predictions, conditions=dict(images=3))
    notes = [run.notes for run in read_runs([bare, lost, mixed])]
    assert [len(one) for one in notes] == [1, 1, 1]
    assert 'no predictions.npz' in notes[0][0]
    assert 'tools/test.py' in notes[0][0]
    assert 'no metrics.json' in notes[1][0]
    assert 'of 3 images, the predictions of 35' in notes[2][0]


@pytest.mark.parametrize(('text', 'message'), [
    (None, 'has no results of a test'),
    ('{', 'cannot be read'),
    ('[]', 'does not hold metrics'),
])
def test_refuses_what_is_not_a_work_dir(tmp_path, text, message):
    if text is not None:
        (tmp_path / 'metrics.json').write_text(text)
    with pytest.raises(InputError, match=message):
        read_runs([tmp_path])


def test_refuses_a_missing_folder_and_one_given_twice(tmp_path):
    with pytest.raises(InputError, match='not a folder'):
        read_runs([tmp_path / 'nothing'])
    with pytest.raises(InputError, match='given 2 times'):
        read_runs([tmp_path, tmp_path / '..' / tmp_path.name])


def test_differences(tmp_path):
    scores, kinds = draw_scores()
    first = make_predictions(tmp_path / 'a', scores, kinds)
    # The same images under another folder, scored otherwise.
    second = make_predictions(tmp_path / 'b', 2 * scores, kinds)
    third = make_predictions(tmp_path / 'c', scores[1:], kinds[1:])
    folders = [
        write_run(tmp_path / f'run{number}', predictions)
        for number, predictions in enumerate([first, second, third])
    ]
    same = read_runs(folders[:2])
    assert find_differences(same) == []
    path = folders[1] / 'metrics.json'
    metrics = json.loads(path.read_text())
    metrics['conditions']['map_size'] = '9x9'
    path.write_text(json.dumps(metrics))
    found = find_differences(read_runs(folders[:2]))
    assert found == [
        'The size of the anomaly maps differs (run0: 24x32, run1: 9x9).'
    ]
    found = find_differences(read_runs([folders[0], folders[2]]))
    assert found == [
        'The number of images differs (run0: 35, run2: 34).',
        'The runs were tested on different images.'
    ]
