"""`tools/predict.py` from a checkpoint to verdicts in files."""
import csv
import json
import os
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from config_texts import ROOT
from PIL import Image
from run_tools import is_one_sentence

from mmad.apis import AnomalyInferencer
from mmad.structures import AnomalyDataSample
from mmad.utils import load_checkpoint


@pytest.fixture(scope='session')
def checkpoint(trained):
    return trained / 'work' / 'epoch_1.pth'


@pytest.fixture(scope='session')
def own_model(trained):
    """What the checkpoint needs besides."""
    return AnomalyInferencer(trained / 'work' / 'epoch_1.pth', device='cpu')


def read(folder):
    with open(folder / 'predictions.csv', encoding='utf-8', newline='') as f:
        rows = list(csv.DictReader(f))
    whole = json.loads((folder / 'predictions.json').read_text())
    assert len(rows) == len(whole['predictions'])
    assert whole['summary']['images'] == len(rows)
    assert not list(folder.glob('*.part'))
    for row, record in zip(rows, whole['predictions']):
        assert row['label'] == (record['label'] or '')
        if record['score'] is not None:
            assert float(row['score']) == record['score']
    return rows, whole


def test_all_at_once(run_tool, checkpoint, own_model, mvtec_root, tmp_path):
    folder = mvtec_root / 'bottle' / 'test'
    result = run_tool(tmp_path, 'predict.py', checkpoint, folder, '--out-dir',
                      'out', '--maps', '--batch-size', 3, '--device', 'cpu')
    assert result.status == 0, result.err
    rows, whole = read(tmp_path / 'out')

    samples = own_model(folder, batch_size=3)
    assert [row['path'] for row in rows] == [s.img_path for s in samples]
    decision = own_model.model.decision
    assert whole['image_threshold'] == float(decision.thresholds[0])
    for row, record, sample in zip(rows, whole['predictions'], samples):
        assert np.float32(row['score']) == sample.pred_score.numpy()
        assert np.float32(row['p_value']) == sample.p_value.numpy()
        assert (row['label'] == 'defective') == bool(sample.pred_label)
        regions = sample.find_regions()
        for found, region in zip(record['regions'], regions, strict=True):
            assert found == pytest.approx(region.as_dict(), rel=1e-6)
        assert int(row['regions']) == len(regions)
        place = '/'.join(sample.img_path.split('/')[-4:])[:-4]
        assert record['overlay'] == f'overlays/{place}.png'
        assert record['map'] == f'anomaly_maps/{place}.tiff'
        with Image.open(tmp_path / 'out' / record['map']) as found:
            expected = sample.original_map().numpy()
            found = np.asarray(found)
        assert found.dtype == np.float32
        assert np.array_equal(
            found, np.where(np.isnan(expected), np.nanmin(expected), expected))
        assert (tmp_path / 'out' / record['overlay']).is_file()
    counts = whole['summary']
    assert (f'{counts.get("good", 0)} good, {counts.get("defective", 0)} '
            'defective, 0 unreadable') in result.out


def test_thresholds(run_tool, checkpoint, own_model, mvtec_root, tmp_path):
    folder = mvtec_root / 'bottle' / 'test'
    scores = np.sort([float(s.pred_score) for s in own_model(folder)])
    middle = float(scores[3] + scores[4]) / 2
    result = run_tool(tmp_path, 'predict.py', checkpoint, folder, '--out-dir',
                      'out', '--threshold', middle, '--pixel-threshold', 1e9,
                      '--overlays', 'defective')
    assert result.status == 0, result.err
    rows, whole = read(tmp_path / 'out')
    labels = [row['label'] for row in rows]
    assert labels.count('defective') == len(rows) - 4
    assert len(list(tmp_path.glob('out/overlays/**/*.png'))) == len(rows) - 4
    assert all(row['regions'] == '0' for row in rows)
    assert whole['threshold_kind'] == 'given'

    result = run_tool(tmp_path, 'predict.py', checkpoint, folder, '--out-dir',
                      'b', '--false-alarm-rate', 0.5, '--overlays', 'none')
    assert result.status == 0, result.err
    calibrated = own_model.model.decision.scores
    _, whole = read(tmp_path / 'b')
    place = int(np.ceil((len(calibrated) + 1) * 0.5)) - 1
    assert whole['image_threshold'] == float(calibrated[place])
    assert not (tmp_path / 'b' / 'overlays').exists()


def spoil(folder, source):
    """Files of every kind; the names of those that cannot be read."""
    folder.mkdir()
    with Image.open(source) as image:
        image = image.convert('RGB')
    image.save(folder / 'good.png')
    image.save(folder / 'ä ö ü 部品.png')
    image.convert('L').save(folder / 'gray.png')
    image.convert('RGBA').save(folder / 'alpha.png')
    image.convert('P').save(folder / 'palette.png')
    image.convert('1').save(folder / 'bit.png')
    image.convert('CMYK').save(folder / 'cmyk.jpg')
    exif = image.getexif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(
        folder / 'turned.jpg', exif=exif)
    image.resize((1, 1)).save(folder / 'pixel.png')
    image.save(os.fsencode(folder) + b'/no text \xe9.png', format='png')
    (folder / 'folder.png').mkdir()
    image.save(folder / 'folder.png' / 'inside.png')
    (folder / 'notes.txt').write_text('no image')
    (folder / 'text.png').write_text('no image')
    (folder / 'empty.png').touch()
    (folder / 'link.png').symlink_to('nowhere')
    os.mkfifo(folder / 'pipe.png')
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(folder / 'cut.jpg')
    data = (folder / 'cut.jpg').read_bytes()
    (folder / 'cut.jpg').write_bytes(data[:len(data) // 2])
    Image.fromarray(noise[..., 0].astype(np.uint16) * 256).save(folder /
                                                                'deep.png')
    return {'text', 'empty', 'link', 'pipe', 'cut', 'deep'}


def test_one_bad_image_does_not_stop_the_others(run_tool, checkpoint,
                                                own_model, mvtec_root,
                                                tmp_path):
    bad = spoil(tmp_path / 'a b', mvtec_root / 'bottle/test/hole/000.png')
    result = run_tool(tmp_path, 'predict.py', checkpoint, 'a b', '--out-dir',
                      'out ü', '--batch-size', 4, '--num-workers', 2)
    assert result.status == 0, result.err
    rows, _ = read(tmp_path / 'out ü')
    assert len(rows) == 17
    failed = {
        os.path.basename(row['path'])[:-4]
        for row in rows if row['label'] == 'error'
    }
    assert failed == bad
    for row in rows:
        if row['label'] == 'error':
            assert row['score'] == row['regions'] == ''
            assert row['error'].endswith('.')
            assert os.path.basename(row['path']) in row['error']
        else:
            assert not row['error']
    assert f'{len(bad)} unreadable' in result.out
    drawn = [
        path for path in (tmp_path / 'out ü').glob('overlays/**/*.png')
        if path.is_file()
    ]
    assert len(drawn) == len(rows) - len(bad)
    # The same image in other clothes.
    scores = {
        os.path.basename(row['path']): float(row['score'])
        for row in rows if row['score']
    }
    for name in ('ä ö ü 部品.png', 'alpha.png', 'inside.png'):
        assert scores[name] == pytest.approx(scores['good.png'], rel=1e-5)

    before = (tmp_path / 'out ü' / 'predictions.csv').read_bytes()
    result = run_tool(tmp_path, 'predict.py', checkpoint, 'a b/*.png',
                      '--out-dir', 'out ü', '--strict', '--batch-size', 1)
    assert result.status == 2
    assert 'error: ' in result.err.splitlines()[-1]
    # The earlier result is whole, and what came before the error is kept.
    after = (tmp_path / 'out ü' / 'predictions.csv').read_bytes()
    assert after == before
    part = (tmp_path / 'out ü' / 'predictions.csv.part').read_text()
    assert len(part.splitlines()) == 1 + 2  # alpha and bit, before deep


def test_names_are_unique(run_tool, checkpoint, mvtec_root, tmp_path):
    source = mvtec_root / 'bottle/test/good/000.png'
    for name in ('a/x/1.png', 'b/x/1.png', 'b/x/1.PNG', 'c/1.png', 'd/1.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / name)
    inputs = ['a', 'b', 'a/x/1.png', 'c/1.png', 'd/../d/1.png', 'd/1.png']
    for _ in range(2):  # again, over the results
        result = run_tool(tmp_path, 'predict.py', checkpoint, *inputs, '.',
                          '--out-dir', 'out')
        assert result.status == 0, result.err
        rows, whole = read(tmp_path / 'out')
        assert len(rows) == 12
        drawn = [record['overlay'] for record in whole['predictions']]
        assert len({name.lower() for name in drawn}) == 12
        assert sorted(
            path.relative_to(tmp_path / 'out').as_posix() for path in
            tmp_path.glob('out/overlays/**/*.png')) == sorted(drawn)


@pytest.mark.parametrize('arguments', [
    ['none.png'],
    ['none/*.png'],
    ['empty'],
    ['empty', '--threshold', '1', '--pixel-threshold', 'nan'],
    ['images', '--pixel-threshold', '1'],
    ['images', '--false-alarm-rate', '0'],
    ['images', '--threshold', 'nan'],
    ['images', '--batch-size', '0'],
    ['images', '--num-workers', '-1'],
    ['images', '--device', 'none'],
    ['images', '--out-dir', 'file/out'],
    ['images', '--modules', 'none'],
    ['images', '--config', 'none.py'],
    ['7', 'images'],
    ['rtsp://127.0.0.1/x', 'images'],
    ['file'],
    ['broken.mp4'],
])
def test_wrong_input(run_tool, checkpoint, mvtec_root, tmp_path, arguments):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').touch()
    (tmp_path / 'broken.mp4').write_text('no video')
    (tmp_path / 'images').symlink_to(mvtec_root / 'bottle/test/good')
    result = run_tool(
        tmp_path, 'predict.py', checkpoint, *arguments,
        *(() if '--out-dir' in arguments else ('--out-dir', 'out')))
    lines = [
        line for line in result.err.splitlines() if line.startswith('error: ')
    ]
    assert result.status == 2
    assert len(lines) == 1
    assert 'Traceback' not in result.err


@pytest.mark.parametrize('source', ['0', 'rtsp://host/x', 'images'])
def test_ctrl_c_ends_a_camera(checkpoint, mvtec_root, tmp_path, monkeypatch,
                              source):
    """In this process, with a stand-in for a camera."""
    tool = runpy.run_path(str(ROOT / 'tools' / 'predict.py'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').symlink_to(mvtec_root / 'bottle/test')
    monkeypatch.setattr(
        sys, 'argv',
        ['predict.py',
         str(checkpoint), source, '--out-dir', 'out'])
    sample = AnomalyDataSample(
        metainfo=dict(img_path='x', frame_index=0),
        pred_score=1,
        pred_map=np.zeros((2, 2)))

    def write(self, inputs, writer, *args):
        writer.add(sample)
        raise KeyboardInterrupt

    monkeypatch.setattr(AnomalyInferencer, 'write', write)
    if source == 'images':
        with pytest.raises(KeyboardInterrupt):
            tool['predict'](tool['parse_args']())
        assert (tmp_path / 'out/predictions.csv.part').is_file()
    else:
        tool['predict'](tool['parse_args']())
        rows, _ = read(tmp_path / 'out')
        assert len(rows) == 1


def test_no_checkpoint(run_tool, tmp_path):
    (tmp_path / 'a.pth').write_text('no checkpoint')
    for name in ('a.pth', 'none.pth'):
        assert is_one_sentence(
            run_tool(tmp_path, 'predict.py', name, '.', '--out-dir', 'out'))


def test_checkpoint_from_before_there_were_thresholds(run_tool, checkpoint,
                                                      mvtec_root, tmp_path):
    state = load_checkpoint(str(checkpoint))
    for name in list(state['state_dict']):
        if name.startswith('decision.'):
            del state['state_dict'][name]
    torch.save(state, tmp_path / 'old.pth')
    folder = mvtec_root / 'bottle/test'
    result = run_tool(tmp_path, 'predict.py', 'old.pth', folder, '--out-dir',
                      'out')
    assert result.status == 0, result.err
    assert 'Verdicts: none' in result.out
    assert '8 scored, 0 unreadable' in result.out
    rows, _ = read(tmp_path / 'out')
    for row in rows:
        assert row['label'] == row['p_value'] == row['regions'] == ''
    assert len(list(tmp_path.glob('out/overlays/**/*.png'))) == 8

    for options in (['--false-alarm-rate', 0.1], ['--overlays', 'defective']):
        assert is_one_sentence(
            run_tool(tmp_path, 'predict.py', 'old.pth', folder, '--out-dir',
                     'out', *options))
    middle = np.median([float(row['score']) for row in rows])
    result = run_tool(tmp_path, 'predict.py', 'old.pth', folder, '--out-dir',
                      'out', '--threshold', middle)
    rows, whole = read(tmp_path / 'out')
    assert whole['summary']['defective'] == 4
    assert all(row['regions'] == '' for row in rows)
