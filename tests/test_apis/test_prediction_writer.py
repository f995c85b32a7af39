import csv
import json
import os
import tracemalloc
from contextlib import suppress

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmad.apis import PredictionWriter, make_record
from mmad.errors import InputError
from mmad.structures import AnomalyDataSample


def make_sample(path='a.png', label=True, **metainfo):
    scores = torch.zeros(6, 8)
    scores[2:4, 3:6] = 5
    return AnomalyDataSample(
        metainfo=dict(
            dict(
                img_path=path,
                ori_shape=(12, 16),
                image_threshold=1.5,
                pixel_threshold=4.5,
                false_alarm_rate=None), **metainfo),
        pred_score=2.0 if label else 1.0,
        pred_map=scores,
        pred_label=label,
        pred_mask=scores > 4.5,
        p_value=0.1)


IMAGE = np.full((12, 16, 3), 100, np.uint8)


def rows_of(path):
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_a_crash_loses_nothing(tmp_path):
    with (suppress(RuntimeError), PredictionWriter(tmp_path, 'none') as
          writer):
        for number in range(3):
            writer.add(make_sample(f'{number}.png'))
            writer.flush()
            # As another program sees it at this moment.
            rows = rows_of(tmp_path / 'predictions.csv.part')
            assert [row['path'] for row in rows
                    ] == [f'{other}.png' for other in range(number + 1)]
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == [
        'predictions.csv.part', 'predictions.json.part'
    ]
    assert len(rows_of(tmp_path / 'predictions.csv.part')) == 3
    # Each line of the list stands for itself.
    lines = (tmp_path / 'predictions.json.part').read_text().splitlines()
    assert [json.loads(line.strip(' ,'))['path']
            for line in lines[2:]] == ['0.png', '1.png', '2.png']

    with PredictionWriter(tmp_path, 'none') as writer:
        pass
    assert sorted(
        os.listdir(tmp_path)) == ['predictions.csv', 'predictions.json']
    assert rows_of(tmp_path / 'predictions.csv') == []
    assert json.loads((tmp_path / 'predictions.json').read_text()) == dict(
        predictions=[], summary=dict(images=0))


@pytest.mark.parametrize('about', [{}, dict(a=1), dict(a=dict(b=[dict()]))])
def test_what_is_written_can_be_read(tmp_path, about):
    samples = [
        make_sample('ü, "x"\n.png'),
        make_sample('good.png', False),
        make_sample(os.fsdecode(b'\xe9.png')),
        make_sample('video.mp4', frame_index=3),
        AnomalyDataSample(pred_score=1, pred_map=torch.ones(2, 2)),
        AnomalyDataSample(metainfo=dict(img_path='b.png', error='No, "x".')),
    ]
    with PredictionWriter(tmp_path, 'none', about=about) as writer:
        for sample in samples:
            writer.add(sample)
    rows = rows_of(tmp_path / 'predictions.csv')
    whole = json.loads((tmp_path / 'predictions.json').read_text())
    assert {key: whole[key] for key in about} == about
    assert [row['label'] for row in rows
            ] == ['defective', 'good', 'defective', 'defective', '', 'error']
    assert whole['summary'] == dict(
        images=6, good=1, defective=3, unjudged=1, error=1)
    for record, sample in zip(whole['predictions'], samples):
        assert record == dict(
            json.loads(json.dumps(make_record(sample))),
            overlay=None,
            map=None)
    assert rows[0]['path'] == 'ü, "x"\\n.png'
    assert whole['predictions'][2]['path'] == os.fsdecode(b'\xe9.png')
    assert rows[3]['frame'] == '3'
    assert rows[5]['error'] == 'No, "x".'
    region, = samples[0].find_regions()
    assert rows[0]['regions'] == '1'
    assert [int(number) for number in rows[0]['boxes'].split()] == [
        region.x, region.y, region.width, region.height, region.area
    ]


@pytest.mark.parametrize('overlays', ['all', 'defective', 'none'])
def test_drawings(tmp_path, overlays):
    given = dict(
        defective=make_sample('x/1.png'), good=make_sample('x/2.png', False))
    with PredictionWriter(tmp_path, overlays) as writer:
        for label, sample in given.items():
            record = writer.add(sample, IMAGE)
            expected = overlays in ('all', label)
            assert (record['overlay'] is not None) == expected
            if expected:
                drawn = cv2.imread(str(tmp_path / record['overlay']))
                assert drawn is not None


def test_maps(tmp_path):
    sample = make_sample(crop_offset=(1, 2), resized_shape=(9, 12))
    with PredictionWriter(tmp_path, 'none', maps=True) as writer:
        record = writer.add(sample)
    with Image.open(tmp_path / record['map']) as image:
        assert image.mode == 'F'
        found = np.asarray(image)
    whole = sample.original_map().numpy()
    outside = np.isnan(whole)
    assert outside.any()
    assert np.array_equal(found[~outside], whole[~outside])
    assert (found[outside] == np.nanmin(whole)).all()


@pytest.mark.parametrize(('path', 'roots', 'name'), [
    ('mvtec/bottle/test/broken/000.png', [], 'bottle/test/broken/000'),
    ('mvtec/bottle/test/broken/000.png', ['mvtec'], 'bottle/test/broken/000'),
    ('ad2/can/test_private/1.png', [], 'can/test_private/1'),
    ('test/1.png', ['test'], None),
    ('a/b/c/1.png', [], 'c/1'),
    ('a/b/c/1.png', ['a/b'], 'b/c/1'),
    ('a/b/c/1.png', ['a/b', 'a'], 'a/b/c/1'),
    ('a/test/b/c/1.png', ['a/test/b'], 'b/c/1'),
    ('../1.png', [], None),
    ('a/../b/1.png', ['a/../b'], 'b/1'),
    ('/1.png', [], '1'),
    ('/1.png', ['/'], '1'),
    ('/x/1.png', ['/'], 'x/1'),
])
def test_names(tmp_path, path, roots, name):
    with PredictionWriter(tmp_path, roots=roots) as writer:
        record = writer.add(make_sample(path), IMAGE)
    file = tmp_path / record['overlay']
    assert file.is_file()
    assert tmp_path / 'overlays' in file.resolve().parents
    if name is not None:
        assert record['overlay'] == f'overlays/{name}.png'


def test_a_drawing_does_not_replace_its_image(tmp_path):
    path = tmp_path / 'overlays' / 'a' / '1.png'
    path.parent.mkdir(parents=True)
    path.write_text('precious')
    with (pytest.raises(InputError,
                        match='would replace it'), PredictionWriter(tmp_path)
          as writer):
        writer.add(make_sample(str(path)), IMAGE)
    assert path.read_text() == 'precious'


@pytest.mark.parametrize('info', [
    dict(rotation=2.0),
    dict(frame_lost='it was flipped'),
    dict(ori_shape=None)
])
def test_where_the_place_is_not_known(tmp_path, info):
    with PredictionWriter(tmp_path, maps=True) as writer:
        record = writer.add(make_sample(**info), IMAGE)
    assert record['label'] == 'defective'
    assert record['regions'] is record['overlay'] is record['map'] is None
    assert writer.unplaced == 1


def test_wrong_arguments(tmp_path):
    with pytest.raises(InputError, match='`overlays`'):
        PredictionWriter(tmp_path, 'some')
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='not a folder'):
        PredictionWriter(tmp_path / 'file')


def test_memory_does_not_grow(tmp_path):
    sample = make_sample('x.png')
    with PredictionWriter(tmp_path, 'none') as writer:
        for _ in range(100):
            writer.add(sample)
        tracemalloc.start()
        for _ in range(2000):
            writer.add(sample)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # A name takes less than 200 bytes.
    assert size < 200 * 2000 + 50_000
